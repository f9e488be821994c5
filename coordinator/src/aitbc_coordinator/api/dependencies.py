"""What endpoints are given."""

from typing import Annotated

from fastapi import Depends, Request

from aitbc_coordinator.context import Context


def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDependency = Annotated[Context, Depends(get_context)]
