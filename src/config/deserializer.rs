//! Turns the raw tree into types, strictly: a number in a file must be a number there, while an environment
//! variable is text that becomes whatever its option is.
//!
//! The `config` crate's own deserializer takes `true` for 1 and "yes" for true, and its parsing of environment
//! variables turns a password of `007` into `7`; hence this one. Its errors keep values and messages apart, so
//! that the value of a secret is never printed.

use std::collections::BTreeMap;
use std::fmt;

use ::config::{Value, ValueKind};
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};

/// Origin that the `config` crate gives to what it read from environment variables.
pub(super) const ENVIRONMENT: &str = "the environment";

/// A node of the raw tree.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub &'a Value);

/// Why a node has not the wanted type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is no such option.
    UnknownKey {
        /// Its name.
        name: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// The value does not fit.
    Value {
        /// What is there, in words.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// Something else, in words that may hold the value.
    Other(String),
}

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::UnknownKey { known: [], .. } => f.write_str("unknown key"),
            Wrong::UnknownKey { known, .. } => {
                write!(f, "unknown key; the keys here are {}", known.join(", "))
            }
            Wrong::Value { found, expected } => write!(f, "{found} where {expected} is expected"),
            Wrong::Other(message) => f.write_str(message),
        }
    }
}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let found = match found {
            Unexpected::Map => "a table".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Str(text) => format!("the text {text:?}"),
            other => other.to_string(),
        };
        Wrong::Value { found, expected: plain(&expected.to_string()) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Wrong::UnknownKey { name: name.to_owned(), known }
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Wrong::Value { found: format!("the text {name:?}"), expected: format!("one of {}", known.join(", ")) }
    }
}

/// What serde expects, without Rust's type names.
fn plain(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a string" | "path string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        table if table.starts_with("struct ") || table == "a map" => "a table of options".to_owned(),
        other => other.to_owned(),
    }
}

impl Node<'_> {
    /// The text of an environment variable.
    fn environment_text(&self) -> Option<&str> {
        match &self.0.kind {
            ValueKind::String(text) if self.0.origin() == Some(ENVIRONMENT) => Some(text),
            _ => None,
        }
    }
}

impl<'de> IntoDeserializer<'de, Wrong> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Visits the text of an environment variable as the wanted type, if it is one.
macro_rules! from_environment_text {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.environment_text().and_then(|text| text.trim().parse::<$type>().ok()) {
                Some(value) => visitor.$visit(value),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(*value),
            ValueKind::I64(value) => visitor.visit_i64(*value),
            ValueKind::I128(value) => visitor.visit_i128(*value),
            ValueKind::U64(value) => visitor.visit_u64(*value),
            ValueKind::U128(value) => visitor.visit_u128(*value),
            ValueKind::Float(value) => visitor.visit_f64(*value),
            ValueKind::String(text) => visitor.visit_borrowed_str(text),
            ValueKind::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.iter().map(Node))),
            ValueKind::Table(table) => {
                // Sorted, because the crate's table is not: the first of several errors is always the same.
                let sorted: BTreeMap<&str, Node<'_>> =
                    table.iter().map(|(key, value)| (key.as_str(), Node(value))).collect();
                visitor.visit_map(MapDeserializer::new(sorted.into_iter()))
            }
        }
    }

    from_environment_text! {
        deserialize_bool visit_bool bool
        deserialize_i8 visit_i64 i64
        deserialize_i16 visit_i64 i64
        deserialize_i32 visit_i64 i64
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u64 u64
        deserialize_u16 visit_u64 u64
        deserialize_u32 visit_u64 u64
        deserialize_u64 visit_u64 u64
        deserialize_f32 visit_f64 f64
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        // An empty variable is the only way to unset something by the environment.
        let unset = self.0.kind == ValueKind::Nil || self.environment_text() == Some("");
        if unset { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.0.kind {
            ValueKind::String(text) => visitor.visit_enum(StrDeserializer::<Wrong>::new(text)),
            ValueKind::Table(_) => Err(Wrong::invalid_type(Unexpected::Map, &"a text")),
            _ => self.deserialize_any(ExpectText).and(Err(Wrong::custom("a text is expected"))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// Accepts nothing; names what it found instead of a text.
struct ExpectText;

impl Visitor<'_> for ExpectText {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
}
