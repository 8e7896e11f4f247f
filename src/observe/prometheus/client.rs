//! Asks the server: every query at every look, some at a time, each within its time and size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};

use super::answer::{self, Answer};
use super::{PrometheusSettings, QuerySettings, ServerReport};
use crate::observe::gaps::gap;
use crate::observe::node_metrics::{NodeMetricsError, http_client};
use crate::observe::observation::{Gap, GapSubject};
use crate::units::Bytes;

/// Where every Prometheus answers instant queries.
const QUERY_PATH: [&str; 3] = ["api", "v1", "query"];

/// Why a query has no answer. The texts stay the same from look to look, so that the log tells them once.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// Not an address.
    #[error("prometheus.url: {url:?} is not an address such as http://prometheus:9090")]
    Url {
        /// As configured.
        url: String,
    },
    /// A credential that cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A credential that cannot be sent.
    #[error("{path} holds something that cannot be sent in a header", path = path.display())]
    UnsendableCredential {
        /// The file.
        path: PathBuf,
    },
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] NodeMetricsError),
    /// No answer.
    #[error("no answer")]
    Unreachable(#[source] reqwest::Error),
    /// Not what Prometheus answers with.
    #[error("the answer has status {status}: is it the address of a Prometheus, and are we let in?")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer is too large.
    #[error("the answer is larger than prometheus.max_body ({limit}): aggregate in the query")]
    TooLarge {
        /// The limit.
        limit: Bytes,
    },
    /// The answer has too many series.
    #[error("the answer has more series than prometheus.max_series ({limit}): aggregate in the query")]
    TooManySeries {
        /// The limit.
        limit: u32,
    },
    /// Something else.
    #[error("the answer is not what a Prometheus writes")]
    NotPrometheus,
    /// The server will not answer.
    #[error("the server refuses: {kind}: {message}")]
    Refused {
        /// `bad_data`, `timeout` …
        kind: String,
        /// Its words.
        message: String,
    },
    /// The answer may lack something.
    #[error("the answer may be partial, and is not used: {warning}")]
    Warned {
        /// The first warning.
        warning: String,
    },
    /// Not an instant vector.
    #[error("the query answers with a {found}, and an instant vector is expected")]
    NoVector {
        /// The type.
        found: String,
    },
    /// No series.
    #[error("the answer has no series: do the metrics exist, and are they younger than prometheus.max_age?")]
    Empty,
    /// Old values.
    #[error("its values are further than prometheus.max_age ({}) from our clock", crate::config::duration::display(*limit))]
    Stale {
        /// The limit.
        limit: Duration,
    },
    /// Parts of the answer are not used.
    #[error("some of the answer is not used: {problem}")]
    Partly {
        /// What.
        problem: String,
    },
}

/// Asks one server.
pub struct Prometheus {
    http: reqwest::Client,
    url: Url,
    settings: PrometheusSettings,
}

impl Prometheus {
    /// A reader; `None` when there is nobody or nothing to ask.
    pub fn new(settings: &PrometheusSettings) -> Result<Option<Prometheus>, PrometheusError> {
        let Some(text) = settings.url.as_ref().filter(|url| !url.is_empty()) else { return Ok(None) };
        if settings.queries.is_empty() {
            return Ok(None);
        }
        let wrong = || PrometheusError::Url { url: text.clone() };
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(QUERY_PATH);
        let http = http_client(settings.timeout)?;
        Ok(Some(Prometheus { http, url, settings: settings.clone() }))
    }

    /// Asks everything once: the answers, and what is missing of them.
    pub async fn read(&self, now: Timestamp) -> (ServerReport, Vec<Gap>) {
        let answers: BTreeMap<String, Result<Answer, PrometheusError>> =
            stream::iter(self.settings.queries.clone())
                .map(|(name, query)| async move { (name, self.ask(&query, now).await) })
                // None at a time would be never.
                .buffer_unordered((self.settings.concurrency as usize).max(1))
                .collect()
                .await;
        let (mut report, mut gaps) = (ServerReport::default(), Vec::new());
        for (name, answer) in answers {
            let subject = || GapSubject::PrometheusQuery { query: name.clone() };
            match answer {
                Ok(Answer { reading, problems }) => {
                    let partly = |problem| gap(subject(), &PrometheusError::Partly { problem });
                    gaps.extend(problems.into_iter().map(partly));
                    report.readings.insert(name, reading);
                }
                Err(error) => gaps.push(gap(subject(), &error)),
            }
        }
        (report, gaps)
    }

    async fn ask(&self, query: &QuerySettings, now: Timestamp) -> Result<Answer, PrometheusError> {
        let mut url = self.url.clone();
        let limit = self.settings.max_age.as_secs().max(1);
        url.query_pairs_mut()
            .append_pair("query", &query.query)
            .append_pair("timeout", &format!("{}ms", self.settings.timeout.as_millis()))
            // Older samples then do not count as current; servers that do not know it ignore it.
            .append_pair("lookback_delta", &format!("{limit}s"));
        let request = self.http.get(url).header(ACCEPT, "application/json");
        let (status, body) = self.body(self.authorized(request).await?).await?;
        if status != StatusCode::OK {
            return Err(answer::refusal(&body).unwrap_or(PrometheusError::Status { status }));
        }
        answer::read(&body, query, &self.settings, now)
    }

    async fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, PrometheusError> {
        let PrometheusSettings { user, password_file, token_file, .. } = &self.settings;
        if let Some(path) = token_file {
            let token = read_credential(path).await?;
            let mut header = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| PrometheusError::UnsendableCredential { path: path.clone() })?;
            header.set_sensitive(true);
            return Ok(request.header(reqwest::header::AUTHORIZATION, header));
        }
        let Some(user) = user else { return Ok(request) };
        let password = match password_file {
            Some(path) => Some(read_credential(path).await?),
            None => None,
        };
        Ok(request.basic_auth(user, password))
    }

    /// Status and body, of which no more is taken in than allowed.
    async fn body(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), PrometheusError> {
        // The address has the query in it, and the gap names that.
        let unreachable = |error: reqwest::Error| PrometheusError::Unreachable(error.without_url());
        let mut response = request.send().await.map_err(unreachable)?;
        let limit = usize::try_from(self.settings.max_body.0).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(PrometheusError::TooLarge { limit: self.settings.max_body });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }
}

/// What a server says, where one is asked.
pub async fn read(prometheus: Option<&Prometheus>, now: Timestamp) -> (ServerReport, Vec<Gap>) {
    match prometheus {
        Some(prometheus) => prometheus.read(now).await,
        None => (ServerReport::default(), Vec::new()),
    }
}

/// A secret in a file, without the line break that editors leave.
async fn read_credential(path: &Path) -> Result<String, PrometheusError> {
    let failed = |source| PrometheusError::Credential { path: path.to_owned(), source };
    Ok(tokio::fs::read_to_string(path).await.map_err(failed)?.trim_end_matches(['\n', '\r']).to_owned())
}
