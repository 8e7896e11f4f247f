//! The page at `/`, as a browser without script gets it.

use std::time::Duration;

use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{
    CollectionOrder, Line, Profile, SharedWorld, SimServer, World, WorldPlan, build,
};
use reqwest::Method;
use serde_json::json;

use super::{Answer, Site, acting, configuration, read, uneven};

/// What must not come out of any name, unless it is escaped.
pub const HOSTILE: &str = "<script>document.title='owned'</script>\"'&<b>";

/// The largest first view, compressed: the page, its style and its script.
const LARGEST_FIRST_VIEW: usize = 100_000;

/// A cluster in which people have named things with no good intent.
pub fn hostile_world() -> World {
    let mut world = build(&WorldPlan { collections: 0, segments: 0, ..uneven() });
    let first = *world.nodes().keys().next().unwrap();
    let order = CollectionOrder {
        database: String::new(),
        name: HOSTILE.to_owned(),
        segments: 12,
        rows_per_segment: 10_000,
        dimension: 128,
        row_bytes: 600,
        replicas: 1,
        shards: 1,
        growing_rows: 0,
        searches_per_second: 1.0,
        loaded: true,
    };
    let collection = world.create_collection(&order);
    world.put_collection(collection, first);
    world
}

/// A cluster of a thousand nodes.
pub fn thousand_nodes() -> WorldPlan {
    WorldPlan {
        nodes: 1_000,
        collections: 20,
        segments: 5_000,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 11)
    }
}

/// A daemon on a world that was made by hand.
pub async fn on(world: World) -> Site {
    let server = SimServer::start(SharedWorld::with_speed(world, super::SPEED)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&folder, &server);
    let site = Site::run(folder, server, config).await;
    site.until(|state| state.last.is_some()).await;
    site
}

/// A daemon whose Milvus is not there.
pub async fn without_milvus() -> Site {
    let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), super::SPEED)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = configuration(&folder, &server);
    // The discard port of this machine: nobody listens there.
    config.connections.get_mut("default").unwrap().endpoint = "http://127.0.0.1:9".to_owned();
    let site = Site::run(folder, server, config).await;
    site.until(|state| state.failure.is_some()).await;
    site
}

fn html(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for forbidden in [" style=", "<style", " onclick=", " onload=", "javascript:", "//cdn", "https://"] {
        assert!(!answer.text.contains(forbidden), "{forbidden:?}: {}", answer.text);
    }
    assert!(answer.text.ends_with("</html>"), "{}", answer.text);
    &answer.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_the_four_questions_and_shows_every_node() {
    let site = Site::start().await;
    site.until(|state| state.last.as_ref().is_some_and(|last| !last.decision.plan.steps.is_empty())).await;
    site.two_turns().await;
    let answer = site.get("/").await;
    let page = html(&answer);
    for question in ["Is the cluster balanced?", "Why not?", "What is it doing?", "How do I stop it?"] {
        assert!(page.contains(question), "{question}");
    }
    let status = site.json("/v1/status").await;
    assert_eq!(status["state"], "overloaded");
    assert!(page.contains("</span> No</p>"), "the answer is no: {page}");
    assert!(page.contains("In mode advise nothing is moved."));
    for node in site.json("/v1/nodes").await["items"].as_array().unwrap() {
        let id = node["id"].as_str().unwrap();
        assert!(page.contains(&format!("<a href=\"?node={id}#ask\">{id}</a>")), "node {id}");
    }
    let steps = site.json("/v1/plan").await["steps"]["items"].as_array().unwrap().clone();
    let segment = steps[0]["moves"][0]["segment"].as_str().unwrap();
    assert!(page.contains(&format!("segment {segment} of ")), "the plan's first move");
    assert!(page.contains("<polyline"), "the timeline");
    let policies = site.json("/v1/policies").await;
    for dimension in policies["dimensions"].as_array().unwrap() {
        assert!(page.contains(dimension["name"].as_str().unwrap()));
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_answered_in_the_words_of_the_api() {
    let site = Site::start().await;
    let nodes = site.json("/v1/nodes").await;
    let node = nodes["items"][0]["id"].as_str().unwrap().to_owned();
    let other = nodes["items"][1]["id"].as_str().unwrap().to_owned();
    let segments = site.json(&format!("/v1/segments?node={node}")).await;
    let segment = segments["items"][0]["id"].as_str().unwrap().to_owned();
    for (asked, api) in [
        (format!("/?node={node}&segment=&to="), format!("/v1/why/nodes/{node}")),
        (format!("/?node=&segment={segment}&to="), format!("/v1/why/segments/{segment}")),
        (format!("/?segment={segment}&to={other}"), format!("/v1/why-not?segment={segment}&to={other}")),
    ] {
        // A turn may end between the two.
        let mut both = Vec::new();
        for _ in 0..20 {
            let (page, answers) = (site.get(&asked).await, site.json(&api).await);
            let page = html(&page).to_owned();
            let lines: Vec<String> = answers["answers"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|answer| answer["lines"].as_array().unwrap().clone())
                .map(|line| line.as_str().unwrap().to_owned())
                .collect();
            assert!(!lines.is_empty());
            both = lines.into_iter().filter(|line| !page.contains(&format!("<li>{line}</li>"))).collect();
            if both.is_empty() {
                break;
            }
        }
        assert!(both.is_empty(), "{asked} lacks {both:?}");
    }
    for (wrong, said) in [
        ("/?node=seven", "is no id of a node"),
        ("/?node=99999", "no query node has the id 99999"),
        ("/?segment=1", "not seen with the last look"),
        ("/?segment=%3Cscript%3E&to=1", "is no id of a segment"),
    ] {
        let answer = site.get(wrong).await;
        assert!(html(&answer).contains(said), "{wrong}: {}", answer.text);
        assert_eq!(answer.text.matches("<script").count(), 1, "{wrong}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_stay_texts() {
    let site = on(hostile_world()).await;
    site.until(|state| state.last.as_ref().is_some_and(|last| !last.decision.plan.steps.is_empty())).await;
    site.order("/v1/pause", &json!({"reason": HOSTILE})).await;
    site.two_turns().await;
    let answer = site.get("/").await;
    let page = html(&answer);
    assert_eq!(page.matches("<script").count(), 1, "only the page's own: {page}");
    assert!(!page.contains("<b>\"") && !page.contains("'&<"), "{page}");
    let escaped = page.matches("&#60;script&#62;").count();
    assert!(escaped >= 2, "the collection and the reason of the pause are shown, {escaped} times: {page}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_cluster_is_told_as_such() {
    let site = on(build(&WorldPlan { nodes: 0, collections: 0, segments: 0, ..uneven() })).await;
    let answer = site.get("/").await;
    let page = html(&answer);
    assert!(page.contains("There are no query nodes."), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf×"), "{page}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_milvus_is_told_with_its_cause() {
    let site = without_milvus().await;
    let answer = site.get("/").await;
    let page = html(&answer);
    assert!(page.contains("Nobody can tell") && page.contains("Why can nobody tell?"), "{page}");
    assert!(page.contains("127.0.0.1:9"), "{page}");
    let asked = site.get("/?node=1").await;
    assert!(html(&asked).contains("the cluster has not been seen yet"), "{}", asked.text);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_view_of_a_thousand_nodes_is_small() {
    let site = Site::with(thousand_nodes(), |config| config.poll.interval = Duration::from_secs(600)).await;
    let mut all = 0;
    for path in ["/", "/page.css", "/page.js"] {
        let request = site.request(Method::GET, path).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip", "{path}");
        assert!(response.headers()["vary"].to_str().unwrap().contains("ccept"), "{path}");
        all += response.bytes().await.unwrap().len();
    }
    assert!(all < LARGEST_FIRST_VIEW, "{all} bytes");
    let plain = site.get("/").await;
    assert!(html(&plain).matches("<i class=\"p").count() >= 1_000, "a field for every node");
    println!("{all} bytes compressed, the page alone {} plain", plain.text.len());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ordered_without_the_token_or_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("operate");
    std::fs::write(&token, "let me in\n").unwrap();
    let site = Site::with(uneven(), |config| {
        acting(config);
        config.admin.operate_token_file = Some(token);
    })
    .await;
    let answer = site.get("/").await;
    assert!(html(&answer).contains("id=\"token\""), "who may only look is asked for the token");
    let pause = || site.request(Method::POST, "/v1/pause").json(&json!({}));
    read(pause()).await.problem(403);
    read(pause().bearer_auth("let me out")).await.problem(403);
    let forged = pause().bearer_auth("let me in").header("origin", "http://evil.example");
    read(forged).await.problem(403);
    // What a form of another site can send, with the password that the browser remembers.
    let form = site.request(Method::POST, "/v1/pause").basic_auth("ann", Some("let me in")).body("reason=x");
    read(form.header("content-type", "text/plain")).await.problem(415);
    read(site.request(Method::POST, "/").bearer_auth("let me in").json(&json!({}))).await.problem(405);
    assert_eq!(site.json("/v1/controls").await["pause"], json!(null));
    assert_eq!(read(pause().bearer_auth("let me in")).await.status, 200);
    let mine = site.request(Method::GET, "/").bearer_auth("let me in");
    let paused = read(mine).await;
    assert!(html(&paused).contains("data-path=\"/v1/resume\""), "{}", paused.text);
    assert!(!paused.text.contains("id=\"token\""));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_changed_is_not_sent_again() {
    let site = Site::with(uneven(), |config| config.poll.interval = Duration::from_secs(600)).await;
    let first = site.get("/").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let again = read(site.request(Method::GET, "/").header("if-none-match", tag)).await;
    assert_eq!(again.status, 304, "{}", again.text);
    site.stop().await;
}
