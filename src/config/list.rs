//! Lists of short texts, for `#[serde(with = …)]` on options: a list in a file, and one text with commas where there are
//! no lists, which is how an environment variable sets one. Numbers in a list are taken as the texts they look like.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

/// Reads a list, or a text with commas; an empty text is an empty list.
pub fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let texts = deserializer.deserialize_any(TextsVisitor)?;
    let read = |text: String| {
        text.parse().map_err(|error| D::Error::custom(format!("{text:?} does not fit here: {error}")))
    };
    texts.into_iter().map(read).collect()
}

/// Always a list.
pub fn serialize<S: Serializer, T: Display>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of texts, or one text with commas between them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(not_empty).collect()
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Entry(text)) = entries.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }
}

/// One entry: a text, or a whole number as the text it looks like.
struct Entry(String);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl Visitor<'_> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
                not_empty(text).map(Entry)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Entry, E> {
                Ok(Entry(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Entry, E> {
                Ok(Entry(number.to_string()))
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Without the space around it. Nothing at all is a slip of the pen, and would match nothing or everything.
fn not_empty<E: Error>(text: &str) -> Result<String, E> {
    match text.trim() {
        "" => Err(E::custom("an entry is empty: leave it out, or write what it should be")),
        text => Ok(text.to_owned()),
    }
}
