"""A contract whose answers are given beforehand: for tokens that are not at hand."""

from collections.abc import Mapping

from eth_utils.abi import function_signature_to_4byte_selector

_CASE_BYTES, _ANSWER_BYTES = 11, 14


def canned_contract(answers: Mapping[str, bytes], *, takes_anything: bool = False) -> str:
    """Runtime code (0x-hex) that returns an answer for each function's signature.

    Anything else reverts without a reason, or, with `takes_anything`, succeeds and returns nothing.
    """
    head = bytes.fromhex("5f3560e01c")  # PUSH0 CALLDATALOAD PUSH1 224 SHR: the selector
    last = bytes.fromhex("00") if takes_anything else bytes.fromhex("5f5ffd")
    code_at = len(head) + _CASE_BYTES * len(answers) + len(last)
    data_at = code_at + _ANSWER_BYTES * len(answers)
    cases = bodies = data = b""
    for signature, answer in answers.items():
        selector = function_signature_to_4byte_selector(signature)
        target = (code_at + len(bodies)).to_bytes(2, "big")
        # DUP1 PUSH4 selector EQ PUSH2 target JUMPI
        cases += b"\x80\x63" + selector + b"\x14\x61" + target + b"\x57"
        length = len(answer).to_bytes(2, "big")
        offset = (data_at + len(data)).to_bytes(2, "big")
        # JUMPDEST, PUSH2 length PUSH2 offset PUSH0 CODECOPY, PUSH2 length PUSH0 RETURN
        bodies += b"\x5b\x61" + length + b"\x61" + offset + b"\x5f\x39\x61" + length + b"\x5f\xf3"
        data += answer
    return "0x" + (head + cases + last + bodies + data).hex()
