//! Estimates the bytes that a row takes in a query node's memory, from schema and indexes: for lack of anything
//! better, since Milvus tells no sizes over gRPC. Wrong by a constant factor it still compares segments of one
//! collection rightly; what nodes report in bytes takes precedence where it can be had.

use std::collections::BTreeMap;

use super::signals::IndexKind;
use crate::milvus::wire::common::KeyValuePair;
use crate::milvus::wire::milvus::IndexDescription;
use crate::milvus::wire::schema::{CollectionSchema, DataType, FieldSchema};

/// Milvus adds a row id and a timestamp, 8 bytes each, to every row.
const SYSTEM_FIELD_BYTES: u64 = 16;

/// Texts and arrays declare how long they may get, not how long they are. People declare generously.
const ASSUMED_FILL_DIVISOR: u64 = 4;

/// However much a text may hold, in this schema it probably is a name, an address, a paragraph.
const LONGEST_ASSUMED_TEXT: u64 = 512;

/// Offset and length that a query node keeps beside every value of variable size.
const VARIABLE_SIZE_OVERHEAD: u64 = 16;

/// JSON declares nothing. A dozen short keys with short values.
const ASSUMED_JSON_BYTES: u64 = 256;

/// A geometry declares nothing either: a point or a small polygon.
const ASSUMED_GEOMETRY_BYTES: u64 = 64;

/// Learned sparse embeddings (SPLADE and the like) have about a hundred terms …
const ASSUMED_SPARSE_TERMS: u64 = 100;
/// … of a 32-bit dimension and a 32-bit weight.
const SPARSE_TERM_BYTES: u64 = 8;

/// Neighbours of a node in the graph's lowest layer: HNSW keeps twice `M` of them …
const HNSW_LINKS_PER_M: u64 = 2;
/// … as 32-bit numbers.
const LINK_BYTES: u64 = 4;
/// `M` where the index does not say: what Milvus' AUTOINDEX takes.
const ASSUMED_M: u64 = 18;

/// An inverted file keeps each row's 64-bit id in its list.
const LIST_ID_BYTES: u64 = 8;

/// Sub-vectors of a product quantiser where the index does not say, as a divisor of the dimension.
const ASSUMED_DIMENSIONS_PER_SUBVECTOR: u64 = 4;
/// Bits of a product quantiser's code where the index does not say.
const ASSUMED_CODE_BITS: u64 = 8;

/// Memory of a DiskANN index as a divisor of the raw vectors: its default search cache and the compressed
/// vectors together; the rest is on disk.
const DISKANN_MEMORY_DIVISOR: u64 = 4;

/// Bytes of a row in memory.
pub fn estimate(schema: &CollectionSchema, indexes: &[IndexDescription]) -> u64 {
    let index_of = |field: &FieldSchema| indexes.iter().find(|index| index.field_name == field.name);
    let mut bytes = SYSTEM_FIELD_BYTES;
    for field in &schema.fields {
        bytes = bytes.saturating_add(field_bytes(field, index_of(field)));
    }
    for group in &schema.struct_array_fields {
        for field in &group.fields {
            bytes = bytes.saturating_add(field_bytes(field, index_of(field)));
        }
    }
    bytes
}

/// How a search finds its way through the vectors; of several vector fields, the dearest. A field without an index is
/// searched row by row.
pub fn index_kind(schema: &CollectionSchema, indexes: &[IndexDescription]) -> Option<IndexKind> {
    let vectors = schema.fields.iter().filter(|field| is_vector(field.data_type()));
    let kind = |field: &FieldSchema| {
        let index = indexes.iter().find(|index| index.field_name == field.name);
        let Some(index) = index else { return IndexKind::Scan };
        match IndexParameters::read(&index.params).kind.as_str() {
            "FLAT" | "BIN_FLAT" => IndexKind::Scan,
            "IVF_FLAT" | "BIN_IVF_FLAT" | "IVF_SQ8" | "IVF_PQ" | "IVF_RABITQ" | "SCANN" => IndexKind::Lists,
            // HNSW and its kin, AUTOINDEX, DISKANN, and whatever later versions invent.
            _ => IndexKind::Graph,
        }
    };
    vectors.map(kind).max()
}

fn field_bytes(field: &FieldSchema, index: Option<&IndexDescription>) -> u64 {
    let raw = raw_bytes(field);
    let Some(index) = index else { return raw };
    if is_vector(field.data_type()) {
        return vector_index_bytes(raw, dimension(field), &IndexParameters::read(&index.params));
    }
    // An index on a scalar is kept beside the values and holds each of them once more.
    raw.saturating_mul(2)
}

/// Bytes of a field's value as it was inserted.
fn raw_bytes(field: &FieldSchema) -> u64 {
    let data_type = field.data_type();
    match data_type {
        DataType::Array | DataType::ArrayOfVector | DataType::ArrayOfStruct => {
            let elements = (declared(field, "max_capacity") / ASSUMED_FILL_DIVISOR).max(1);
            let element = value_bytes(field, field.element_type());
            elements.saturating_mul(element).saturating_add(VARIABLE_SIZE_OVERHEAD)
        }
        _ => value_bytes(field, data_type),
    }
}

fn value_bytes(field: &FieldSchema, data_type: DataType) -> u64 {
    let dimension = dimension(field);
    match data_type {
        DataType::Bool | DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 | DataType::Float => 4,
        DataType::Int64 | DataType::Double | DataType::Timestamptz => 8,
        DataType::String | DataType::VarChar | DataType::Text => {
            let length = (declared(field, "max_length") / ASSUMED_FILL_DIVISOR).min(LONGEST_ASSUMED_TEXT);
            length.saturating_add(VARIABLE_SIZE_OVERHEAD)
        }
        DataType::Json => ASSUMED_JSON_BYTES + VARIABLE_SIZE_OVERHEAD,
        DataType::Geometry => ASSUMED_GEOMETRY_BYTES + VARIABLE_SIZE_OVERHEAD,
        DataType::FloatVector => dimension.saturating_mul(4),
        DataType::Float16Vector | DataType::BFloat16Vector => dimension.saturating_mul(2),
        DataType::Int8Vector => dimension,
        DataType::BinaryVector => dimension.div_ceil(8),
        DataType::SparseFloatVector => ASSUMED_SPARSE_TERMS * SPARSE_TERM_BYTES,
        // Types that later versions invent, and containers that never stand here.
        DataType::None
        | DataType::Array
        | DataType::ArrayOfVector
        | DataType::ArrayOfStruct
        | DataType::Struct => 0,
    }
}

/// Bytes of a vector once its index is loaded. An index that holds the vectors takes their place; one that
/// holds codes only does so too, the vectors being read from disk when somebody asks for them.
fn vector_index_bytes(raw: u64, dimension: u64, parameters: &IndexParameters) -> u64 {
    let links = parameters.number("M").unwrap_or(ASSUMED_M).saturating_mul(HNSW_LINKS_PER_M * LINK_BYTES);
    match parameters.kind.as_str() {
        "HNSW" | "AUTOINDEX" => raw.saturating_add(links),
        // One byte a dimension: a quarter of 32-bit floats.
        "HNSW_SQ" => dimension.saturating_add(links),
        "HNSW_PQ" | "HNSW_PRQ" => parameters.code_bytes(dimension).saturating_add(links),
        "IVF_FLAT" | "BIN_IVF_FLAT" => raw.saturating_add(LIST_ID_BYTES),
        "IVF_SQ8" => dimension.saturating_add(LIST_ID_BYTES),
        "IVF_PQ" => parameters.code_bytes(dimension).saturating_add(LIST_ID_BYTES),
        // One bit a dimension.
        "IVF_RABITQ" => dimension.div_ceil(8).saturating_add(LIST_ID_BYTES),
        // The vectors, and 4-bit codes of two dimensions each.
        "SCANN" => raw.saturating_add(dimension.div_ceil(4)).saturating_add(LIST_ID_BYTES),
        "DISKANN" => raw / DISKANN_MEMORY_DIVISOR,
        // FLAT, BIN_FLAT, sparse and GPU indexes, and whatever later versions invent.
        _ => raw,
    }
}

/// What an index says about itself that decides its size.
struct IndexParameters {
    kind: String,
    numbers: BTreeMap<String, u64>,
}

impl IndexParameters {
    /// The parameters stand each for itself, or together as JSON under `params`.
    fn read(pairs: &[KeyValuePair]) -> IndexParameters {
        let mut kind = String::new();
        let mut numbers = BTreeMap::new();
        for pair in pairs {
            match pair.key.as_str() {
                "index_type" => kind.clone_from(&pair.value),
                "params" => numbers.extend(numbers_in_json(&pair.value)),
                key => numbers.extend(pair.value.parse().ok().map(|number| (key.to_owned(), number))),
            }
        }
        IndexParameters { kind, numbers }
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    /// Bytes of a product quantiser's code of one vector.
    fn code_bytes(&self, dimension: u64) -> u64 {
        let subvectors = self.number("m").unwrap_or(dimension / ASSUMED_DIMENSIONS_PER_SUBVECTOR).max(1);
        let bits = self.number("nbits").unwrap_or(ASSUMED_CODE_BITS);
        subvectors.saturating_mul(bits).div_ceil(8)
    }
}

/// Numbers of a flat JSON object, whether written as numbers or as texts.
fn numbers_in_json(json: &str) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(json) else { return numbers };
    for (key, value) in object {
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        numbers.extend(number.map(|number| (key, number)));
    }
    numbers
}

fn is_vector(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::BinaryVector
            | DataType::FloatVector
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::SparseFloatVector
            | DataType::Int8Vector
    )
}

fn dimension(field: &FieldSchema) -> u64 {
    declared(field, "dim")
}

/// A number that the field declares; 0 when it does not.
fn declared(field: &FieldSchema, name: &str) -> u64 {
    let pair = field.type_params.iter().find(|pair| pair.key == name);
    pair.and_then(|pair| pair.value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
        let pair =
            |(key, value): &(&str, &str)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() };
        pairs.iter().map(pair).collect()
    }

    fn field(name: &str, data_type: DataType, parameters: &[(&str, &str)]) -> FieldSchema {
        FieldSchema {
            name: name.to_owned(),
            data_type: data_type.into(),
            type_params: pairs(parameters),
            ..FieldSchema::default()
        }
    }

    fn vector_with(index: &[(&str, &str)]) -> u64 {
        let fields = vec![field("vector", DataType::FloatVector, &[("dim", "128")])];
        let schema = CollectionSchema { fields, ..CollectionSchema::default() };
        let index = IndexDescription {
            field_name: "vector".to_owned(),
            params: pairs(index),
            ..IndexDescription::default()
        };
        estimate(&schema, &[index]) - SYSTEM_FIELD_BYTES
    }

    #[test]
    fn a_plain_row_is_the_sum_of_its_fields() {
        let fields = vec![
            field("id", DataType::Int64, &[]),
            field("vector", DataType::FloatVector, &[("dim", "32")]),
            field("name", DataType::VarChar, &[("max_length", "64")]),
        ];
        let schema = CollectionSchema { fields, ..CollectionSchema::default() };
        assert_eq!(estimate(&schema, &[]), 16 + 8 + 128 + (16 + 16));
    }

    #[test]
    fn the_index_decides_what_a_vector_takes() {
        assert_eq!(vector_with(&[("index_type", "FLAT")]), 512);
        assert_eq!(vector_with(&[("index_type", "IVF_FLAT")]), 512 + 8);
        assert_eq!(vector_with(&[("index_type", "IVF_SQ8")]), 128 + 8);
        assert_eq!(vector_with(&[("index_type", "IVF_PQ"), ("m", "16"), ("nbits", "8")]), 16 + 8);
        assert_eq!(vector_with(&[("index_type", "HNSW"), ("params", r#"{"M": 16}"#)]), 512 + 128);
        assert_eq!(vector_with(&[("index_type", "HNSW"), ("params", r#"{"M": "16"}"#)]), 512 + 128);
        assert_eq!(vector_with(&[("index_type", "DISKANN")]), 128);
        assert_eq!(vector_with(&[("index_type", "INVENTED_LATER")]), 512);
    }

    #[test]
    fn an_index_on_another_field_changes_nothing() {
        let fields = vec![field("vector", DataType::FloatVector, &[("dim", "128")])];
        let schema = CollectionSchema { fields, ..CollectionSchema::default() };
        let other = IndexDescription {
            field_name: "other".to_owned(),
            params: pairs(&[("index_type", "IVF_SQ8")]),
            ..IndexDescription::default()
        };
        assert_eq!(estimate(&schema, &[other]), 16 + 512);
    }

    #[test]
    fn arrays_are_part_filled() {
        let mut tags = field("tags", DataType::Array, &[("max_capacity", "40")]);
        tags.element_type = DataType::Int32.into();
        let mut vectors = field("vectors", DataType::ArrayOfVector, &[("max_capacity", "8"), ("dim", "4")]);
        vectors.element_type = DataType::FloatVector.into();
        let group = crate::milvus::wire::schema::StructArrayFieldSchema {
            fields: vec![vectors],
            ..Default::default()
        };
        let schema = CollectionSchema {
            fields: vec![tags],
            struct_array_fields: vec![group],
            ..CollectionSchema::default()
        };
        assert_eq!(estimate(&schema, &[]), 16 + (10 * 4 + 16) + (2 * 16 + 16));
    }

    #[test]
    fn absurd_declarations_neither_overflow_nor_vanish() {
        let mut types = vec![
            field("a", DataType::FloatVector, &[("dim", "18446744073709551615")]),
            field("b", DataType::VarChar, &[("max_length", "-1")]),
            field("c", DataType::FloatVector, &[("dim", "many")]),
        ];
        types.push(FieldSchema { data_type: 4711, ..FieldSchema::default() });
        let schema = CollectionSchema { fields: types, ..CollectionSchema::default() };
        assert_eq!(estimate(&schema, &[]), u64::MAX);
        assert_eq!(estimate(&CollectionSchema::default(), &[]), SYSTEM_FIELD_BYTES);
    }
}
