//! The cases as data: the shape of the public suite http-tests/cache-tests.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A theme with its cases.
#[derive(Debug, Deserialize)]
pub(crate) struct Suite {
    pub(crate) tests: Vec<Case>,
}

/// One case: requests for one target, one after the other.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    pub(crate) requests: Vec<Step>,
    #[serde(default)]
    pub(crate) depends_on: Vec<String>,
    #[serde(default)]
    pub(crate) browser_only: bool,
}

/// What a case is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Required,
    Optimal,
    Check,
}

/// One request, what the origin server answers to it, and what is expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Step {
    // The client's request.
    pub(crate) request_method: Option<String>,
    pub(crate) request_headers: Vec<Field>,
    pub(crate) request_body: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) query_arg: Option<String>,
    pub(crate) magic_ims: bool,
    pub(crate) rfc850date: Vec<String>,
    pub(crate) pause_after: bool,
    // The origin server's response.
    pub(crate) response_status: Option<(u16, String)>,
    pub(crate) response_headers: Vec<Field>,
    pub(crate) response_body: Option<String>,
    pub(crate) response_pause: u64,
    pub(crate) interim_responses: Vec<Interim>,
    pub(crate) magic_locations: bool,
    pub(crate) disconnect: bool,
    // What is checked.
    pub(crate) setup: bool,
    pub(crate) setup_tests: Vec<String>,
    pub(crate) check_body: Option<bool>,
    pub(crate) expected_type: Option<Expected>,
    #[serde(deserialize_with = "or_any")]
    pub(crate) expected_status: Option<OrAny<u16>>,
    #[serde(deserialize_with = "or_any")]
    pub(crate) expected_response_text: Option<OrAny<String>>,
    pub(crate) expected_response_headers: Vec<FieldExpectation>,
    pub(crate) expected_response_headers_missing: Vec<FieldExpectation>,
    pub(crate) expected_interim_responses: Option<Vec<Interim>>,
    pub(crate) expected_request_headers: Vec<FieldExpectation>,
    pub(crate) expected_request_headers_missing: Vec<FieldExpectation>,
    pub(crate) expected_method: Option<String>,
    // For browsers only: any client of ours does as they say.
    #[serde(rename = "redirect", alias = "mode", alias = "credentials", alias = "cache")]
    pub(crate) _of_browsers: Option<String>,
}

/// How a response is to have come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expected {
    Cached,
    NotCached,
    EtagValidated,
    LmValidated,
}

/// A field to send.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Value>")]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: FieldValue,
    /// False: what comes of it is not compared.
    pub(crate) checked: bool,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Text(String),
    /// In a date field: seconds from the time of the response.
    Seconds(i64),
}

/// A value, or any at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrAny<T> {
    Just(T),
    Any,
}

/// What a field is to be like.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum FieldExpectation {
    Present(String),
    Is(String, FieldValue),
    MoreThan(String, i64),
    SameAs(String, String),
}

/// An interim response (1xx) with its fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Interim {
    Plain((u16,)),
    WithFields((u16, Vec<Field>)),
}

impl Interim {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Plain((status,)) | Self::WithFields((status, _)) => *status,
        }
    }

    pub(crate) fn fields(&self) -> &[Field] {
        match self {
            Self::Plain(_) => &[],
            Self::WithFields((_, fields)) => fields,
        }
    }
}

impl FieldExpectation {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Present(name) | Self::Is(name, _) | Self::MoreThan(name, _) | Self::SameAs(name, _) => name,
        }
    }
}

impl TryFrom<&Value> for FieldValue {
    type Error = String;

    fn try_from(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Number(number) => number.as_i64().map(Self::Seconds).ok_or_else(|| value.to_string()),
            other => Err(format!("{other} is no field value")),
        }
    }
}

impl TryFrom<Vec<Value>> for Field {
    type Error = String;

    fn try_from(parts: Vec<Value>) -> Result<Self, String> {
        match parts.as_slice() {
            [Value::String(name), value, rest @ ..] if rest.len() < 2 => Ok(Self {
                name: name.clone(),
                value: value.try_into()?,
                checked: rest.first() != Some(&Value::Bool(false)),
            }),
            other => Err(format!("{other:?} is no field")),
        }
    }
}

impl TryFrom<Value> for FieldExpectation {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let parts = match &value {
            Value::String(name) => return Ok(Self::Present(name.clone())),
            Value::Array(parts) => parts.as_slice(),
            _ => &[],
        };
        match parts {
            [Value::String(name), value] => Ok(Self::Is(name.clone(), value.try_into()?)),
            [Value::String(name), Value::String(sign), Value::Number(least)] if sign == ">" => {
                Ok(Self::MoreThan(name.clone(), least.as_i64().unwrap_or(i64::MAX)))
            }
            [Value::String(name), Value::String(sign), Value::String(other)] if sign == "=" => {
                Ok(Self::SameAs(name.clone(), other.clone()))
            }
            _ => Err(format!("{value} expects nothing of a field")),
        }
    }
}

/// Tells `null` (any value will do) from what is absent (the usual).
fn or_any<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<OrAny<T>>, D::Error> {
    Ok(Some(Option::deserialize(from)?.map_or(OrAny::Any, OrAny::Just)))
}
