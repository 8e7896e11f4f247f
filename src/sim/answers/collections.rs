//! Databases, collections, schemas, indexes, versions.

use std::collections::BTreeSet;

use super::Unanswered;
use crate::milvus::wire::{common, milvus as rpc, schema};
use crate::sim::calls::Refusal;
use crate::sim::world::World;

impl World {
    /// `GetVersion`.
    pub fn get_version(&mut self) -> Result<rpc::GetVersionResponse, Unanswered> {
        Ok(match self.reach(false)? {
            Err(refusal) => rpc::GetVersionResponse { status: self.failure(&refusal), ..Default::default() },
            Ok(()) => rpc::GetVersionResponse {
                status: World::success(),
                version: format!("v{}", self.profile.build_version),
            },
        })
    }

    /// `CheckHealth`.
    pub fn check_health(&mut self) -> Result<rpc::CheckHealthResponse, Unanswered> {
        Ok(match self.reach(true)? {
            Err(refusal) => rpc::CheckHealthResponse {
                status: World::success(),
                is_healthy: false,
                reasons: vec![refusal.reason],
            },
            Ok(()) => {
                rpc::CheckHealthResponse { status: World::success(), is_healthy: true, reasons: vec![] }
            }
        })
    }

    /// `ListDatabases`.
    pub fn list_databases(&mut self) -> Result<rpc::ListDatabasesResponse, Unanswered> {
        if !self.profile.has_databases {
            return Err(Unanswered::Unimplemented);
        }
        self.counts.definitions += 1;
        if let Err(refusal) = self.reach(false)? {
            return Ok(rpc::ListDatabasesResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let mut names = BTreeSet::from([crate::sim::DEFAULT_DATABASE.to_owned()]);
        for collection in self.collections.values() {
            if !self.is_hidden(collection.id) {
                names.insert(collection.database.clone());
            }
        }
        Ok(rpc::ListDatabasesResponse { status: World::success(), db_names: names.into_iter().collect() })
    }

    /// `ShowCollections`.
    pub fn show_collections(
        &mut self,
        request: &rpc::ShowCollectionsRequest,
    ) -> Result<rpc::ShowCollectionsResponse, Unanswered> {
        self.counts.definitions += 1;
        let in_memory = request.r#type == i32::from(rpc::ShowType::InMemory);
        if let Err(refusal) = self.reach(in_memory)? {
            return Ok(rpc::ShowCollectionsResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let database =
            if request.db_name.is_empty() { crate::sim::DEFAULT_DATABASE } else { &request.db_name };
        if let Some(refusal) = self.missing_database(database) {
            return Ok(rpc::ShowCollectionsResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let mut response = rpc::ShowCollectionsResponse { status: World::success(), ..Default::default() };
        for collection in self.collections.values() {
            let is_there = !self.profile.has_databases || collection.database == database;
            if !is_there || self.is_hidden(collection.id) || (in_memory && !collection.loaded) {
                continue;
            }
            response.collection_names.push(collection.name.clone());
            response.collection_ids.push(collection.id.0);
            if in_memory {
                response.in_memory_percentages.push(i64::from(collection.load_percentage));
                response.query_service_available.push(collection.is_available());
            }
        }
        Ok(response)
    }

    /// `DescribeCollection`.
    pub fn describe_collection(
        &mut self,
        request: &rpc::DescribeCollectionRequest,
    ) -> Result<rpc::DescribeCollectionResponse, Unanswered> {
        self.counts.schemas += 1;
        let found = match self.reach(false)? {
            Err(refusal) => Err(refusal),
            Ok(()) => self.resolve(&request.db_name, &request.collection_name),
        };
        let found = found.and_then(|id| {
            let hidden = Refusal::new(1401, "privilege not permitted");
            if self.is_hidden(id) { Err(hidden) } else { Ok(id) }
        });
        let collection = match found {
            Err(refusal) => {
                return Ok(rpc::DescribeCollectionResponse {
                    status: self.failure(&refusal),
                    ..Default::default()
                });
            }
            Ok(id) => &self.collections[&id],
        };
        let pair = |key: &str, value: String| common::KeyValuePair { key: key.to_owned(), value };
        let fields = vec![
            schema::FieldSchema {
                field_id: 100,
                name: "id".to_owned(),
                is_primary_key: true,
                data_type: schema::DataType::Int64.into(),
                ..Default::default()
            },
            schema::FieldSchema {
                field_id: 101,
                name: "vector".to_owned(),
                data_type: schema::DataType::FloatVector.into(),
                type_params: vec![pair("dim", collection.dimension.to_string())],
                ..Default::default()
            },
        ];
        Ok(rpc::DescribeCollectionResponse {
            status: World::success(),
            schema: Some(schema::CollectionSchema {
                name: collection.name.clone(),
                fields,
                ..Default::default()
            }),
        })
    }

    /// `DescribeIndex`.
    pub fn describe_index(
        &mut self,
        request: &rpc::DescribeIndexRequest,
    ) -> Result<rpc::DescribeIndexResponse, Unanswered> {
        self.counts.schemas += 1;
        let found = match self.reach(false)? {
            Err(refusal) => Err(refusal),
            Ok(()) => self.resolve(&request.db_name, &request.collection_name),
        };
        if let Err(refusal) = found {
            return Ok(rpc::DescribeIndexResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let pair =
            |key: &str, value: &str| common::KeyValuePair { key: key.to_owned(), value: value.to_owned() };
        let index = rpc::IndexDescription {
            index_name: "vector".to_owned(),
            field_name: "vector".to_owned(),
            params: vec![
                pair("index_type", "HNSW"),
                pair("metric_type", "L2"),
                pair("params", "{\"M\":16,\"efConstruction\":200}"),
            ],
        };
        Ok(rpc::DescribeIndexResponse { status: World::success(), index_descriptions: vec![index] })
    }

    /// `GetLoadState`.
    pub fn get_load_state(
        &mut self,
        request: &rpc::GetLoadStateRequest,
    ) -> Result<rpc::GetLoadStateResponse, Unanswered> {
        if let Err(refusal) = self.reach(true)? {
            return Ok(rpc::GetLoadStateResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let state = match self.resolve(&request.db_name, &request.collection_name) {
            Err(_) => common::LoadState::NotExist,
            Ok(id) => {
                let collection = &self.collections[&id];
                match (collection.loaded, collection.load_percentage) {
                    (false, _) => common::LoadState::NotLoad,
                    (true, 100) => common::LoadState::Loaded,
                    (true, _) => common::LoadState::Loading,
                }
            }
        };
        Ok(rpc::GetLoadStateResponse { status: World::success(), state: state.into() })
    }
}
