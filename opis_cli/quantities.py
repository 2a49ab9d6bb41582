"""Types of numbers and texts in reports, with their limits for the JSON Schema."""

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Keywords that the JSON Schema of a value has in addition to its type."""

    minimum: float | None = None
    maximum: float | None = None
    exclusiveMinimum: float | None = None
    exclusiveMaximum: float | None = None
    pattern: str | None = None

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Return the schema of the value with these limits. Pydantic calls this method."""
        own = {name: getattr(self, name) for name in self.__slots__}
        made: dict[str, Any] = handler(core)
        return made | {name: value for name, value in own.items() if value is not None}


Share = Annotated[float, Limits(minimum=0, maximum=1)]
"""A rate or a utility."""
OpenShare = Annotated[float, Limits(exclusiveMinimum=0, exclusiveMaximum=1)]
"""A share above 0 and below 1."""
Signed = Annotated[float, Limits(minimum=-1, maximum=1)]
"""A cosine similarity, or a difference of shares."""
Amount = Annotated[float, Limits(minimum=0)]
Positive = Annotated[float, Limits(exclusiveMinimum=0)]
AtLeastOne = Annotated[float, Limits(minimum=1)]
"""A ratio of a maximum to a mean, or an effective number."""
Count = Annotated[int, Limits(minimum=0)]
Some = Annotated[int, Limits(minimum=1)]
Several = Annotated[int, Limits(minimum=2)]
Digest = Annotated[str, Limits(pattern="^[0-9a-f]{64}$")]
"""A SHA-256."""
