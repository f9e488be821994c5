"""What endpoints are given."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from aitbc_coordinator.context import Context


def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context.of_request()


def _id(description: str, example: str, longest: int) -> Any:
    """Of an id in a path. A longer one is not found: that is what the endpoint answers."""
    bound = {"maxLength": longest}
    return Path(description=description, examples=[example], json_schema_extra=bound)


GpuId = Annotated[str, _id("Such as `g-7k3m9q`", "g-7k3m9q", 16)]
QuoteId = Annotated[str, _id("Such as `q-5d0x8m2kqa`", "q-5d0x8m2kqa", 16)]
BookingId = Annotated[
    str,
    _id("The contract's id, the short id, or a prefix of either (4 or more)", "b-4c8n21x0pd", 66),
]
ContextDependency = Annotated[Context, Depends(get_context)]
