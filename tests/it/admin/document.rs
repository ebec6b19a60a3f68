//! docs/ADMIN.md shows what is answered: each example is asked for, and the answer has the shape that is shown.

use serde_json::Value;

use super::{operator, with_token};

const DOCUMENT: &str = include_str!("../../../docs/ADMIN.md");
/// The session id that the examples have.
const ID: &str = "0f8a4c9e2b7d4e1f9a6c3b5d8e2f7a10";

/// Requests that stand alone on a line, each with the JSON below it.
fn examples() -> Vec<(&'static str, &'static str, Value)> {
    let blocks = DOCUMENT.split("\n```json\n").collect::<Vec<_>>();
    let pairs = blocks.windows(2).filter_map(|pair| {
        let request = pair[0].trim_end().lines().last()?.strip_prefix('`')?.strip_suffix('`')?;
        let (method, path) = request.split_once(' ')?;
        let (json, _) = pair[1].split_once("```")?;
        Some((method, path, serde_json::from_str(json).unwrap()))
    });
    pairs.collect()
}

/// The same with every text and number made alike.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => 0.into(),
        other => other.clone(),
    }
}

#[test]
fn every_example_is_what_is_answered() {
    let gw = with_token();
    let told = serde_json::json!({ "nickName": "Alice" });
    assert_eq!(gw.login("oAlice").put("/v1/profile", &told).status, 200);
    let mut id = String::new();
    let examples = examples();
    assert_eq!(examples.len(), 6, "{examples:?}");
    for (method, path, shown) in examples {
        let reply = operator(&gw, method, &path.replace(ID, &id));
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        assert_eq!(shape(&reply.json()), shape(&shown), "{method} {path}");
        if let Some(listed) = reply.json()["sessions"][0]["id"].as_str() {
            listed.clone_into(&mut id);
        }
    }
}

#[test]
fn every_path_in_the_table_is_there() {
    let gw = with_token();
    let rows = DOCUMENT.lines().filter(|row| row.starts_with("| `/"));
    let mut paths = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let path = cells[1].trim_matches('`').replace("{app}", crate::support::APP).replace("{openid}", "oAlice");
        let reply = operator(&gw, cells[2], &path.replace("{id}", ID));
        let no_session = cells[1].contains("{id}") && reply.code() == "no_session";
        assert!(reply.status == 200 || no_session, "{row}: {reply:?}");
        let asked = gw.admin().request(cells[2], &path, &[], "");
        assert_eq!(asked.status == 401, cells[3] == "yes", "{row}");
        paths += 1;
    }
    assert_eq!(paths, 9);
}
