"""A route for what is asked often: FastAPI's general way costs more than much of the work."""

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from aitbc_coordinator.api.dependencies import get_context

JSON = "application/json"


class QuickRoute(APIRoute):
    """A route of a coroutine with three parameters: the body, the context and the response.

    A request that it cannot read takes the general way, which says what is wrong. What the
    coroutine returns is a model, checked when it was made, and is not checked again.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        general = super().get_route_handler()
        model: type[BaseModel] = next(iter(get_type_hints(self.endpoint).values()))
        created = int(self.status_code or 200)

        async def handle(request: Request) -> Response:
            if request.headers.get("content-type") != JSON:
                return await general(request)
            try:
                body = model.model_validate_json(await request.body())
            except ValidationError:
                return await general(request)
            said = Response(status_code=created)
            made: BaseModel = await self.endpoint(body, get_context(request), said)
            return Response(made.model_dump_json(), said.status_code, media_type=JSON)

        return handle
