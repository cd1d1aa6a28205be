"""Documents that were registered before anybody asks for them: an operation may name one by its id instead of sending it."""

from __future__ import annotations

from typing import Final, Protocol

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, validate

from jobs.errors import StoreUnavailable
from schema.document_size import examine
from schema.faults import DOCUMENT_NOT_FOUND, DOCUMENT_REQUIRED, published

MAX_TOKENS: Final = 2_000
"""Of any document, registered or not."""

MAX_TEXT: Final = 64 * 1024
"""Characters of a document that is registered: gateways keep many of them in memory."""


class DocumentId(str):
    """What stands where the text of a document would: the id of one that was registered."""

    __slots__ = ()


class Documents(Protocol):
    """Whoever keeps them."""

    async def find(self, document_id: str) -> str | None:
        """The text; None when nothing is registered by this id. Raises ``StoreUnavailable``."""


class NoDocuments:
    """Where none can be registered."""

    async def find(self, document_id: str) -> str | None:
        """None of them is there."""
        return None


NO_DOCUMENTS: Final = NoDocuments()


async def text_of(query: str | None, documents: Documents, *, known_only: bool) -> str | GraphQLError | None:
    """The text that an operation is to be read from, or why it is not even looked for.

    With ``known_only`` what callers send themselves is refused, whoever they are.
    """
    if not isinstance(query, DocumentId):
        if known_only and query is not None:
            message = "this gateway answers registered documents only: name one by its documentId"
            return GraphQLError(message, extensions={"code": DOCUMENT_REQUIRED})
        return query
    try:
        text = await documents.find(query)
    except StoreUnavailable as error:
        return published(GraphQLError(str(error), original_error=error))
    if text is None:
        message = f"there is no registered document {str(query)[:100]!r}"
        return GraphQLError(message, extensions={"code": DOCUMENT_NOT_FOUND})
    return text


def problem_of(text: str, schema: GraphQLSchema) -> str | None:
    """Why a document cannot be registered: everything that would have each request for it be refused; None when nothing is.

    Its variables are not known yet: what they ask for is measured again with each request.
    """
    if len(text) > MAX_TEXT:
        return f"{len(text)} characters, more than the {MAX_TEXT} allowed"
    try:
        document = parse(text, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        return error.message
    refused = examine(document, schema, {}).refused
    if refused is not None:
        return refused
    if not _operations(document):
        return "there is no operation in it"
    errors = validate(schema, document)
    return errors[0].message if errors else None


def name_of(text: str) -> str:
    """The names of its operations, for people; empty where none has one. The text is a document."""
    return ", ".join(one.name.value for one in _operations(parse(text)) if one.name)


def _operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    return [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
