"""Bodies of users."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from shared.times import Timestamp

from partner_onboarding.register.users import domain
from partner_onboarding.register.users.new_passwords import MIN_NEW_PASSWORD_CHARACTERS

_EXAMPLE: JsonDict = {
    "email": "erika@example.com",
    "firstname": "Erika",
    "lastname": "Mustermann",
    "password": "a long pass phrase",
}


class UserSettingBody(BaseModel):
    """A user to create or change. Without a password the present one stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    email: Annotated[
        str,
        Field(strict=True, min_length=3, max_length=domain.MAX_EMAIL_CHARACTERS, json_schema_extra={"format": "email"}),
    ]
    firstname: Annotated[str, Field(strict=True, min_length=1, max_length=domain.MAX_NAME_CHARACTERS)]
    lastname: Annotated[str, Field(strict=True, min_length=1, max_length=domain.MAX_NAME_CHARACTERS)]
    password: Annotated[
        str | None,
        Field(
            strict=True,
            max_length=domain.MAX_PASSWORD_CHARACTERS,
            description=f"At least {MIN_NEW_PASSWORD_CHARACTERS} characters, and none of the first guesses.",
        ),
    ] = None


class UserBody(BaseModel):
    """A user of the caller's tenant."""

    user_id: str
    email: str
    firstname: str
    lastname: str
    email_verified: bool
    has_password: Annotated[bool, Field(description="Whether the user can sign in.")]
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, user: domain.User) -> Self:
        return cls(
            user_id=user.user_id,
            email=user.profile.email,
            firstname=user.profile.firstname,
            lastname=user.profile.lastname,
            email_verified=user.owns_email,
            has_password=user.password_hash is not None,
            created_at=user.created_at,
            updated_at=user.updated_at,
        )
