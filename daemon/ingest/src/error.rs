//! What a caller is told when a request is refused. Every refusal has an AWS code, a status and a reason that is counted.

use http::StatusCode;

use crate::Refusal;

/// A refused request: nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: &'static str,
    pub status: StatusCode,
    pub message: String,
    pub reason: Refusal,
    /// The request body was not read to its end, so the connection cannot be used again.
    pub close: bool,
}

impl ApiError {
    fn new(code: &'static str, status: StatusCode, reason: Refusal, message: impl Into<String>) -> ApiError {
        ApiError { code, status, message: message.into(), reason, close: false }
    }

    /// The same, and the connection is closed after the reply.
    #[must_use]
    pub fn closing(mut self) -> ApiError {
        self.close = true;
        self
    }

    /// The body is no JSON, or a member has the wrong JSON type.
    pub fn serialization(message: impl Into<String>) -> ApiError {
        ApiError::new("SerializationException", StatusCode::BAD_REQUEST, Refusal::Malformed, message)
    }

    /// A constraint of the shape is broken.
    pub fn validation(message: impl Into<String>) -> ApiError {
        ApiError::new("ValidationException", StatusCode::BAD_REQUEST, Refusal::Invalid, message)
    }

    /// The request is well-formed and means nothing that can be done here.
    pub fn invalid_argument(message: impl Into<String>) -> ApiError {
        ApiError::new("InvalidArgumentException", StatusCode::BAD_REQUEST, Refusal::Invalid, message)
    }

    pub fn unknown_operation(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError::new("UnknownOperationException", status, Refusal::Unsupported, message)
    }

    /// Nothing in the request says which operation it is. The front end's own answer: 403, and in XML.
    pub fn no_operation() -> ApiError {
        let message = "Unable to determine service/operation name to be authorized";
        ApiError::new("AccessDeniedException", StatusCode::FORBIDDEN, Refusal::Unsupported, message)
    }

    pub fn not_found(name: &str, account: &str) -> ApiError {
        let message = format!("Firehose {name} not found under account {account}.");
        ApiError::new("ResourceNotFoundException", StatusCode::BAD_REQUEST, Refusal::NotFound, message)
    }

    pub fn resource_not_found(message: impl Into<String>) -> ApiError {
        ApiError::new("ResourceNotFoundException", StatusCode::BAD_REQUEST, Refusal::NotFound, message)
    }

    /// A shard iterator that is older than five minutes.
    pub fn expired_iterator(message: impl Into<String>) -> ApiError {
        ApiError::new("ExpiredIteratorException", StatusCode::BAD_REQUEST, Refusal::Invalid, message)
    }

    pub fn expired_next_token() -> ApiError {
        let text = "The NextToken is older than 300 seconds; list again from the start.";
        ApiError::new("ExpiredNextTokenException", StatusCode::BAD_REQUEST, Refusal::Invalid, text)
    }

    /// What AWS's clients of Kinesis slow down for.
    pub fn throughput_exceeded(message: impl Into<String>) -> ApiError {
        let code = "ProvisionedThroughputExceededException";
        ApiError::new(code, StatusCode::BAD_REQUEST, Refusal::Overload, message)
    }

    /// The caller asked that nothing be done.
    pub fn dry_run() -> ApiError {
        let text = "The request would have succeeded, but DryRun is set.";
        ApiError::new("DryRunOperationException", StatusCode::BAD_REQUEST, Refusal::Invalid, text)
    }

    pub fn in_use(message: impl Into<String>) -> ApiError {
        ApiError::new("ResourceInUseException", StatusCode::BAD_REQUEST, Refusal::Conflict, message)
    }

    /// Somebody else has changed it since the caller looked.
    pub fn concurrent_modification(message: impl Into<String>) -> ApiError {
        ApiError::new("ConcurrentModificationException", StatusCode::BAD_REQUEST, Refusal::Conflict, message)
    }

    pub fn limit_exceeded(message: impl Into<String>) -> ApiError {
        ApiError::new("LimitExceededException", StatusCode::BAD_REQUEST, Refusal::Conflict, message)
    }

    /// Operations that manage delivery streams, called more often than is allowed.
    pub fn throttling(message: impl Into<String>) -> ApiError {
        ApiError::new("ThrottlingException", StatusCode::BAD_REQUEST, Refusal::Overload, message)
    }

    pub fn missing_token() -> ApiError {
        ApiError::authentication("MissingAuthenticationTokenException", "Missing Authentication Token")
    }

    pub fn incomplete_signature(message: impl Into<String>) -> ApiError {
        ApiError::authentication("IncompleteSignatureException", message)
    }

    pub fn invalid_signature(message: impl Into<String>) -> ApiError {
        ApiError::authentication("InvalidSignatureException", message)
    }

    pub fn unrecognized_client() -> ApiError {
        ApiError::authentication(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    }

    /// The caller is known, and its policy does not allow this.
    pub fn access_denied(message: impl Into<String>) -> ApiError {
        ApiError::new("AccessDeniedException", StatusCode::BAD_REQUEST, Refusal::Denied, message)
    }

    fn authentication(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(code, StatusCode::BAD_REQUEST, Refusal::Authentication, message)
    }

    /// More body than the front door takes.
    pub fn too_large(bytes_max: usize) -> ApiError {
        let message = format!("the request body is larger than {bytes_max} bytes; send fewer records in one call");
        let (code, status) = ("RequestEntityTooLargeException", StatusCode::PAYLOAD_TOO_LARGE);
        ApiError::new(code, status, Refusal::TooLarge, message).closing()
    }

    /// More head than the front door takes.
    pub fn head_too_large(bytes_max: usize) -> ApiError {
        let message = format!("the request's head is larger than {bytes_max} bytes");
        let (code, status) = ("RequestHeaderSectionTooLarge", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        ApiError::new(code, status, Refusal::TooLarge, message).closing()
    }

    /// The body did not arrive in time.
    pub fn timed_out() -> ApiError {
        let message = "the request body did not arrive in time; send it again";
        ApiError::new("RequestTimeoutException", StatusCode::REQUEST_TIMEOUT, Refusal::Timeout, message).closing()
    }

    /// No memory for the request now; AWS's SDKs slow down and repeat it.
    pub fn slow_down() -> ApiError {
        ApiError::unavailable(Refusal::Overload, "Slow down.")
    }

    pub fn unavailable(reason: Refusal, message: impl Into<String>) -> ApiError {
        ApiError::new("ServiceUnavailableException", StatusCode::SERVICE_UNAVAILABLE, reason, message)
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new("InternalFailure", StatusCode::INTERNAL_SERVER_ERROR, Refusal::Internal, message)
    }
}
