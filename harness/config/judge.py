"""Who judges answers that no program can grade: an endpoint, or a model served in the job."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from harness.config.base import FieldError, Frozen, Location, Minutes, Word
from harness.config.endpoint import Body, api_root
from harness.config.server import ServerSpec
from harness.config.site import VariableName

OPENAI = "https://api.openai.com/v1"


class ServedJudge(Frozen):
    """A judge of our own: served by the task itself, once the candidate's server has stopped."""

    model: Location
    """A folder with a Hugging Face model, or its id on the Hub."""
    server: ServerSpec = ServerSpec()
    """How it is served; the task asks for as many GPUs as the larger of the two servers."""


class JudgeSpec(Frozen):
    """The judge of mt-bench and arena-hard: any OpenAI-compatible endpoint, or `serve`."""

    model: Word | None = None
    """Model named in requests; unset: gpt-4o for mt-bench, gpt-4.1 for arena-hard."""
    base_url: Word = OPENAI
    """Root of the endpoint's API, ending in /v1 as a rule. The judge's jobs must reach it."""
    api_key_env: VariableName | None = "OPENAI_API_KEY"
    """Variable of your shell that holds the key; list it in the site's `secrets`. null: no key."""
    serve: ServedJudge | None = None
    """Serve the judge inside the job instead of asking an endpoint."""
    concurrency: int = Field(default=5, ge=1)
    """Requests under way at once, in each task."""
    temperature: float | None = Field(default=0.0, ge=0)
    """Of the judge; null: not sent, for models that refuse it."""
    max_tokens: int | None = Field(default=None, ge=16)
    """Tokens of a judgement; unset: mt-bench 2048, arena-hard 4096, arena-hard-v2 16000."""
    timeout_minutes: Minutes = 10
    """One judgement must come in this time; then it is asked again."""
    retries: int = Field(default=8, ge=0)
    """How often a call is asked again after a time-out, 429 or 5xx (Retry-After is honoured)."""
    max_invalid_share: float = Field(default=0.1, ge=0, le=1)
    """With a larger share of calls without a readable verdict (or none readable at all) the cell is
    invalid."""
    body: Body = {}
    """Further fields of each request, e.g. `max_completion_tokens: 4096` (then no max_tokens); null
    leaves one of ours out."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        return api_root(url)

    @model_validator(mode="after")
    def _one_judge(self) -> JudgeSpec:
        if self.serve and (self.model or self.base_url != OPENAI):
            raise FieldError(
                "serve", "serve names a model of its own: give neither model nor base_url"
            )
        if not self.serve and self.base_url != OPENAI and not self.model:
            raise FieldError(
                "base_url", f"name the model that {self.base_url} serves (judge.model)"
            )
        return self
