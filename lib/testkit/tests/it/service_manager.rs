//! What systemd and a process tell each other. systemd itself passes the socket here; its place at the other end is ours.

use std::time::Duration;

use nepto_testkit::{Launch, Port, Process, Settings, Stack, program, seconds};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

/// The next thing that the process says.
async fn heard(socket: &UnixDatagram) -> String {
    let mut room = [0; 256];
    let length = timeout(seconds(20), socket.recv(&mut room)).await.expect("the process says nothing").unwrap();
    String::from_utf8_lossy(&room[..length]).trim().to_owned()
}

#[tokio::test]
async fn a_process_serves_on_the_socket_that_was_open_before_it_and_says_how_it_is() {
    let stack = Stack::all().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (public, admin) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let settings = Settings::new()
        .set("node.name", "activated")
        // not what it listens on
        .set("http.listen", "192.0.2.1:1")
        .set("admin.listen", admin.address().to_string());
    let configuration = stack.configuration("activated", &settings).unwrap();
    let told = folder.path().join("notify");
    let manager = UnixDatagram::bind(&told).unwrap();
    let public = public.address();
    let process = Process::start(Launch {
        name: "activated".into(),
        program: "systemd-socket-activate".into(),
        arguments: vec![
            format!("--listen={public}").into(),
            format!("--setenv=NOTIFY_SOCKET={}", told.display()).into(),
            "--setenv=WATCHDOG_USEC=400000".into(),
            program("nepto-server").unwrap().into(),
            "--config".into(),
            configuration.into(),
            "gateway".into(),
        ],
        environment: Vec::new(),
        folder: folder.path().to_owned(),
    })
    .unwrap();
    // nothing runs yet: who asks waits in the socket's queue, and is answered
    let asked = async {
        loop {
            match crate::http::get(format!("http://{public}/healthz")).await {
                Ok(answer) => break answer.status().as_u16(),
                // systemd-socket-activate has not begun to listen
                Err(error) if error.is_connect() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let answered = async {
        let status = timeout(seconds(20), asked).await?;
        anyhow::ensure!(status == 200, "/healthz answers {status}");
        Ok(())
    };
    process.or_ended(answered).await.unwrap();
    assert_eq!(heard(&manager).await, "READY=1");
    for _ in 0..3 {
        assert_eq!(heard(&manager).await, "WATCHDOG=1");
    }
    assert!(process.term(seconds(20)).await.unwrap().success());
    let mut last = heard(&manager).await;
    while last == "WATCHDOG=1" {
        last = heard(&manager).await;
    }
    assert_eq!(last, "STOPPING=1");
}
