//! Images: through a cache that has a bound, and only those that run nothing.

use std::time::Duration;

use nepto_testkit::{Answer, UntrustedHost, seconds};
use reqwest::Method;
use serde_json::json;

use super::world::{GIF, World};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

/// Describes a badge that has this image.
async fn badge_with(world: &World, token: u64, image: &str) -> String {
    let path = format!("/badge/{token}");
    world.host.answer(&path, Answer::json(json!({ "name": token.to_string(), "image": image }).to_string()));
    world.gives_badge(token, &world.host.url(&path)).await.unwrap();
    let known = world.described(&world.badge(token)).await.unwrap();
    assert_eq!(known["state"], "known", "{known:#}");
    world.badge(token)
}

#[tokio::test]
async fn an_image_is_what_its_first_bytes_say_and_can_do_nothing() {
    let world = World::new(|builder| builder.set("assets.image_bytes_max", 5_000)).await.unwrap();
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec();
    let large = [PNG, &vec![0; 5_000]].concat();
    for (token, answer, media_type) in [
        (1, Answer::File("image/png", PNG.to_vec()), Some("image/png")),
        // its server is wrong
        (2, Answer::File("image/png", GIF.to_vec()), Some("image/gif")),
        (3, Answer::File("application/octet-stream", GIF.to_vec()), Some("image/gif")),
        (4, Answer::File("image/svg+xml", svg.clone()), None),
        (5, Answer::File("image/png", svg), None),
        (6, Answer::File("image/png", b"<html><script>alert(1)</script>".to_vec()), None),
        (7, Answer::File("text/html", GIF.to_vec()), None),
        (8, Answer::File("image/png", large), None),
        (9, Answer::status(404), None),
    ] {
        let file = format!("/image/{token}");
        world.host.answer(&file, answer);
        let path = badge_with(&world, token, &world.host.url(&file)).await;
        let image = world.image(&path).await.unwrap();
        let header = |name: &str| image.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let Some(media_type) = media_type else {
            assert_eq!(
                (image.status().as_u16(), header("content-type").unwrap().as_str()),
                (404, "application/problem+json")
            );
            let problem: serde_json::Value = image.json().await.unwrap();
            assert_eq!(problem["code"], "image_unavailable", "{token}: {problem}");
            // whoever asks again does not make the server ask again, and hears when it will
            let again = world.image(&path).await.unwrap();
            assert!(again.headers().contains_key("retry-after"));
            assert_eq!(world.host.asked_for(&file), 1);
            continue;
        };
        assert_eq!(image.status(), 200, "{token}");
        assert_eq!(header("content-type").as_deref(), Some(media_type));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert!(header("content-security-policy").unwrap().contains("sandbox"));
        assert!(header("content-disposition").unwrap().starts_with(&format!("attachment; filename=\"{token}.")));
        assert!(header("cache-control").unwrap().starts_with("private"));
        let etag = header("etag").unwrap();
        assert_eq!(image.bytes().await.unwrap(), if token == 1 { PNG } else { GIF });
        // the client has it already
        let path = format!("{path}/image");
        let same = world.ask(Method::GET, &path, &[("if-none-match", &format!("\"x\", {etag}"))]).await.unwrap();
        assert_eq!((same.status().as_u16(), same.headers()["etag"].to_str().unwrap()), (304, etag.as_str()));
        assert!(same.bytes().await.unwrap().is_empty());
        let head = world.ask(Method::HEAD, &path, &[]).await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers()["etag"].to_str().unwrap()), (200, etag.as_str()));
        assert_eq!(world.host.asked_for(&file), 1, "from the cache");
    }
    let without_token =
        crate::http::get(format!("{}/v1/assets/{}/image", world.stack.url(), world.badge(1))).await.unwrap();
    assert_eq!(without_token.status(), 401);
}

#[tokio::test]
async fn images_stay_within_their_bound_and_survive_a_kill() {
    let world =
        World::new(|builder| builder.set("assets.image_bytes_max", 1_000).set("assets.image_cache_bytes_max", 5_000))
            .await
            .unwrap();
    let image = |token: u64| [GIF, &vec![token as u8; 900 - GIF.len()]].concat();
    let mut paths = Vec::new();
    for token in 1..=8 {
        let file = format!("/image/{token}");
        world.host.answer(&file, Answer::File("image/gif", image(token)));
        paths.push(badge_with(&world, token, &world.host.url(&file)).await);
        let got = world.image(&paths[paths.len() - 1]).await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), image(token));
        let bytes: u64 = world.image_files().unwrap().iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 5_000, "{bytes}");
    }
    assert!(world.image_files().unwrap().len() >= 4);
    world.stack.api.kill9().unwrap();
    let unfinished = world.image_files().unwrap()[0].0.with_file_name("unfinished-x");
    std::fs::write(&unfinished, b"GIF89a").unwrap();
    world.stack.api.restart().await.unwrap();
    let last = world.image(&paths[7]).await.unwrap();
    assert_eq!(last.bytes().await.unwrap(), image(8));
    assert_eq!(world.host.asked_for("/image/8"), 1);
    // the first made room, and is fetched again
    let first = world.image(&paths[0]).await.unwrap();
    assert_eq!(first.bytes().await.unwrap(), image(1));
    assert_eq!(world.host.asked_for("/image/1"), 2);
    // a file that is broken is as good as none
    for (path, _) in world.image_files().unwrap() {
        std::fs::write(path, b"<svg/>").unwrap();
    }
    assert_eq!(world.image(&paths[7]).await.unwrap().bytes().await.unwrap(), image(8));
    assert_eq!(world.host.asked_for("/image/8"), 2);
}

#[tokio::test]
async fn all_who_want_an_image_cause_one_request_and_nobody_waits_for_ever() {
    let world = World::new(|builder| builder.set("fetch.timeout_ms", 8_000)).await.unwrap();
    world.host.answer("/image/1", Answer::Silence);
    let path = badge_with(&world, 1, &world.host.url("/image/1")).await;
    let started = std::time::Instant::now();
    let ask = async || world.ask(Method::GET, &format!("{path}/image"), &[]).await.unwrap().status().as_u16();
    let answers = futures_util::future::join_all((0..5).map(|_| ask())).await;
    assert_eq!(answers, [503; 5]);
    assert!(started.elapsed() < seconds(7), "{:?}", started.elapsed());
    assert_eq!(world.host.asked_for("/image/1"), 1);
    // lists are told at once meanwhile
    let started = std::time::Instant::now();
    world.get("mine/tokens").await.unwrap();
    assert!(started.elapsed() < seconds(1));
    assert_eq!(world.image(&path).await.unwrap().status(), 404, "given up after its time");
}

#[tokio::test]
async fn an_image_within_its_description_and_none_at_all() {
    let world = World::new(|builder| builder).await.unwrap();
    let held = format!("data:image/gif;base64,{}", base64_of(GIF));
    let description = json!({ "name": "held", "image": held }).to_string();
    world.gives_badge(1, &format!("data:application/json;base64,{}", base64_of(description.as_bytes()))).await.unwrap();
    let known = world.described(&world.badge(1)).await.unwrap();
    assert_eq!((&known["name"], known.get("uri")), (&json!("held"), None));
    let image = world.image(&world.badge(1)).await.unwrap();
    assert_eq!((image.headers()["content-type"].to_str().unwrap(), image.status().as_u16()), ("image/gif", 200));
    assert_eq!(image.bytes().await.unwrap(), GIF);
    world.gives_badge(2, "data:application/json,{\"name\": \"blind\"}").await.unwrap();
    assert!(world.described(&world.badge(2)).await.unwrap().get("image").is_none());
    let none = world.refused(Method::GET, &format!("{}/image", world.badge(2))).await.unwrap();
    assert_eq!(none, (404, "image_unavailable".into()));
    // an image that leads to something of ours
    let inner = UntrustedHost::start().await.unwrap();
    inner.answer("/", Answer::File("image/gif", GIF.to_vec()));
    let path = badge_with(&world, 3, &inner.url("/")).await;
    assert_eq!(world.image(&path).await.unwrap().status(), 404);
    assert!(inner.heads().is_empty());
}

#[tokio::test]
async fn an_image_that_is_old_is_fetched_behind_its_back() {
    let world = World::new(|builder| builder.set("assets.metadata_refresh_after_s", 2)).await.unwrap();
    world.host.answer("/image/1", Answer::File("image/gif", GIF.to_vec()));
    let path = badge_with(&world, 1, &world.host.url("/image/1")).await;
    assert_eq!(world.image(&path).await.unwrap().bytes().await.unwrap(), GIF);
    world.host.answer("/image/1", Answer::File("image/png", PNG.to_vec()));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(world.image(&path).await.unwrap().bytes().await.unwrap(), GIF, "what is there is given at once");
    nepto_testkit::eventually(seconds(5), async || {
        Ok(world.image(&path).await?.headers()["content-type"] == "image/png")
    })
    .await
    .unwrap();
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
