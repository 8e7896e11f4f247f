//! Why and why not, over the API: the answers are the plan's own.

use serde_json::Value;

use super::{Site, acting, uneven};

fn sentences(answer: &Value) -> String {
    let lines = answer["lines"].as_array().unwrap().iter();
    lines.map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_move_is_explained_as_the_plan_has_it() {
    let site = Site::start().await;
    let plan = site.json("/v1/plan").await;
    let movement = &plan["steps"]["items"][0]["moves"][0];
    let (segment, from, to) = ["segment", "from", "to"].map(|key| movement[key].as_str().unwrap()).into();
    let why = site.json(&format!("/v1/why/segments/{segment}")).await;
    let answer = &why["answers"][0];
    assert_eq!(answer["planned"], true);
    assert!(sentences(answer).starts_with(&format!("the plan moves it to node {to}, with step 1")), "{why}");
    assert!(answer["subject"].as_str().unwrap().contains(&format!("on node {from}")), "{why}");
    assert!(answer["gain"].as_f64().unwrap() > answer["price"].as_f64().unwrap(), "it pays: {why}");

    let there = site.json(&format!("/v1/why-not?segment={segment}&to={to}")).await;
    assert!(sentences(&there["answers"][0]).contains("the plan does that, with step 1"), "{there}");
    let here = site.json(&format!("/v1/why-not?segment={segment}&to={from}")).await;
    assert_eq!(sentences(&here["answers"][0]).lines().next(), Some("it is there"), "{here}");
    assert!(sentences(&here["answers"][0]).contains(&format!("the plan moves it to node {to} instead")));

    let node = site.json(&format!("/v1/why/nodes/{from}")).await;
    let text = sentences(&node["answers"][0]);
    assert!(text.contains("times its fair share") && text.contains("overloaded"), "{text}");
    assert!(text.contains("segments that could leave: "), "{text}");
    let moves = plan["steps"]["items"].as_array().unwrap().iter();
    let leaving = moves.filter(|step| step["moves"][0]["from"] == movement["from"]).count();
    assert!(text.contains(&format!("the plan moves {leaving} segments off it")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_stay_is_answered_with_the_reason_that_holds_it() {
    let site = Site::start().await;
    let segments = site.json("/v1/segments?limit=1000").await;
    let held = segments["items"].as_array().unwrap().iter().find(|segment| segment["held"].is_string());
    let held = held.expect("the simulated cluster has level-0 segments");
    let segment = held["id"].as_str().unwrap();
    let why = site.json(&format!("/v1/why/segments/{segment}")).await;
    let text = sentences(&why["answers"][0]);
    assert!(
        text.contains(&format!("it stays: {}", held["held"].as_str().unwrap()))
            || text.contains("it stays: "),
        "{text}"
    );
    assert!(
        why["answers"][0]["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "held"),
        "{why}"
    );
    let nodes = site.json("/v1/nodes").await;
    let other = nodes["items"].as_array().unwrap().iter().find(|node| node["id"] != held["node"]).unwrap();
    let to = other["id"].as_str().unwrap();
    let not = site.json(&format!("/v1/why-not?segment={segment}&to={to}")).await;
    assert_eq!(not["answers"][0]["reasons"][0]["code"], "held", "{not}");

    for (path, status, named) in [
        ("/v1/why/segments/424242", 404, "424242"),
        ("/v1/why/nodes/424242", 404, "424242"),
        ("/v1/why/segments/x", 400, "a segment"),
        ("/v1/why-not?segment=1", 400, "to"),
        ("/v1/why-not?segment=1&to=424242", 404, "424242"),
    ] {
        let detail = site.get(path).await.problem(status);
        assert!(detail.contains(named), "{path}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_just_moved_rests_and_says_for_how_long() {
    let site = Site::with(uneven(), acting).await;
    site.until(|state| state.ended.iter().any(|operation| operation.state.code() == "landed")).await;
    site.two_turns().await;
    let operations = site.json("/v1/operations?limit=1000").await;
    let landed =
        operations["items"].as_array().unwrap().iter().find(|known| known["state"] == "landed").unwrap();
    let (segment, from) = (landed["segment"].as_str().unwrap(), landed["from"].as_str().unwrap());
    let not = site.json(&format!("/v1/why-not?segment={segment}&to={from}")).await;
    let code = not["answers"][0]["reasons"][0]["code"].as_str().unwrap();
    assert!(["cooling_down", "settling", "return_too_soon"].contains(&code), "{not}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_if_is_answered_by_the_planner_and_changes_nothing() {
    let site =
        Site::with(uneven(), |config| config.poll.interval = std::time::Duration::from_secs(600)).await;
    let plan = site.json("/v1/plan").await;
    let answer = site.json("/v1/what-if?changes=add-node=64GiB").await;
    assert_eq!((&answer["before"]["nodes"], &answer["after"]["nodes"]), (&3.into(), &4.into()), "{answer}");
    assert_eq!(answer["before"]["plan"]["digest"], plan["digest"], "as it is, the plan is the plan");
    assert_ne!(answer["after"]["plan"]["digest"], plan["digest"]);
    assert!(answer["changes"][0].as_str().unwrap().contains("one more node with 64"), "{answer}");
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let both = site.json(&format!("/v1/what-if?changes=drain={node},threshold=1.5")).await;
    assert_eq!(both["changes"].as_array().unwrap().len(), 2);
    assert_eq!(site.json("/v1/plan").await, plan);
    assert_eq!(site.json("/v1/policies").await["evacuated"], serde_json::json!([]));
    assert_eq!(site.json("/v1/nodes").await["items"].as_array().unwrap().len(), 3);

    for (changes, status, named) in [
        ("", 400, "add-node=MEMORY"),
        ("grow=7", 400, "grow=7"),
        ("drain=424242", 422, "there is no node 424242"),
        ("remove-node=99999999999999999999", 400, "no id of a node"),
        ("threshold=0.5", 400, "threshold"),
        (&["threshold=1.1"; 17].join(","), 400, "16 at most"),
    ] {
        let detail = site.get(&format!("/v1/what-if?changes={changes}")).await.problem(status);
        assert!(detail.contains(named), "{changes}: {detail}");
    }
    assert!(site.get("/v1/what-if").await.problem(400).contains("changes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_what_if_at_a_time_is_thought_about() {
    let site = Site::start().await;
    let questions: Vec<_> = (0..12).map(|_| site.get("/v1/what-if?changes=add-node=64GiB")).collect();
    let answers = futures::future::join_all(questions).await;
    assert!(answers.iter().any(|answer| answer.status == 200));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(answer.problem(409).contains("another what-if"));
    }
}
