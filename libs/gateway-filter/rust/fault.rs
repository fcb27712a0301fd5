//! Faults of requests, and the body that reports one to the client.

/// A fault of a request, as OpenAI's error object names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A sentence for the client. Nothing in it needs escapes in JSON.
    pub message: String,
    /// The parameter at fault, if one is.
    pub param: Option<&'static str>,
    /// OpenAI's or Arks' code of the error.
    pub code: &'static str,
    /// OpenAI's type of the error.
    pub kind: &'static str,
}

impl Fault {
    /// A fault of the request as a whole.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, code, kind: "invalid_request_error" }
    }

    /// A fault of one parameter.
    #[must_use]
    pub fn of(param: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(code, message) }
    }

    /// The body of the answer: OpenAI's error envelope.
    #[must_use]
    pub fn envelope(&self) -> String {
        let param = self.param.map_or_else(|| "null".to_owned(), |param| format!("\"{param}\""));
        format!(
            r#"{{"error":{{"message":"{}","type":"{}","param":{param},"code":"{}"}}}}"#,
            self.message, self.kind, self.code
        )
    }
}
