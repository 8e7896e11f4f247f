//! Numbers in Milvus' JSON come as strings here and as numbers there, and are left out when they are 0. Whatever else
//! stands in their place is no number, and no reason to lose the rest.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A whole number, if it was one to the last digit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole(pub Option<i64>);

/// A text, if it was one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl Whole {
    /// As an amount; 0 where nothing or nonsense was said.
    pub fn amount(self) -> u64 {
        self.0.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        deserializer.deserialize_any(AnyValue).map(|value| match value {
            Value::Number(number) => Whole(Some(number)),
            Value::Text(text) => Whole(text.trim().parse().ok()),
            Value::Other => Whole(None),
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_any(AnyValue).map(|value| match value {
            Value::Number(number) => Text(number.to_string()),
            Value::Text(text) => Text(text),
            Value::Other => Text::default(),
        })
    }
}

enum Value {
    Number(i64),
    Text(String),
    Other,
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Number))
    }

    /// A number with a point or an exponent went through floating point: its last digits are not to be trusted.
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_text_and_as_number_to_the_last_digit() {
        let read = |json: &str| serde_json::from_str::<Whole>(json).unwrap().0;
        assert_eq!(read("\"449123456789012345\""), Some(449_123_456_789_012_345));
        assert_eq!(read("449123456789012345"), Some(449_123_456_789_012_345));
        assert_eq!(read("\" 7 \""), Some(7));
        for nonsense in [
            "4.49e17",
            "449123456789012345.0",
            "18446744073709551615",
            "\"seven\"",
            "null",
            "true",
            "[1]",
            "{\"a\":1}",
        ] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(serde_json::from_str::<Text>("12").unwrap().0, "12");
        assert_eq!(serde_json::from_str::<Text>("[\"a\"]").unwrap().0, "");
        assert_eq!(Whole(Some(-5)).amount(), 0);
    }
}
