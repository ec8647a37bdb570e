//! What a configuration refuses, a command over the wire refuses too.

use serde_json::{Value, json};

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, Program, command};

#[test]
fn a_command_refuses_what_a_configuration_refuses_in_the_same_words() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = folder.file(
        "c.toml",
        "rate.fps = 10.0\n[source]\nkind = \"files\"\npath = \"models/sample/coffee.jpg\"\nrepeat = true\nfps = 50.0\n",
    );
    let _program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let region = |x: u32, y: u32, width: u32, height: u32| json!({"x_offset": x, "y_offset": y, "width": width, "height": height});
    for (key, value, in_toml, words) in [
        (
            "fps",
            json!(1e-30),
            "rate.fps = 1e-30",
            "it must be from 0.001 to 1000",
        ),
        (
            "fps",
            json!(-5),
            "rate.fps = -5.0",
            "is -5; it must be from 0.001 to 1000",
        ),
        (
            "fps",
            json!(1000.5),
            "rate.fps = 1000.5",
            "is 1000.5; it must be from 0.001 to 1000",
        ),
        (
            "region",
            region(5, 6, 0, 7),
            "region = { x_offset = 5, y_offset = 6, width = 0, height = 7 }",
            "region of 0x7 pixels is empty",
        ),
        (
            "region",
            region(4_294_967_295, 0, 2, 2),
            "region = { x_offset = 4294967295, y_offset = 0, width = 2, height = 2 }",
            "region ends at pixel 4294967297, beyond 4294967295, the last that a number can say",
        ),
    ] {
        let name = if key == "fps" {
            "set_rate"
        } else {
            "set_region"
        };
        let (error, why) = client.refused(json!({"command": name, key: value}));
        assert_eq!(error, "invalid");
        assert!(why.contains(words), "{why}");
        let config = folder.file(
            "wrong.toml",
            format!("{in_toml}\n[source]\nkind = \"files\"\npath = \"x\"\n"),
        );
        let done = command(&["--config", &config, "--check-config"]).output();
        let done = done.expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(78), "{in_toml}: {said}");
        assert!(said.contains(&why), "{said}: {why}");
    }
    // as it was before
    assert_eq!(client.telemetry()["rate_fps"], 10.0);
    for fps in [json!(0.001), json!(1000), Value::Null] {
        client.command(json!({"command": "set_rate", "fps": fps}));
    }
}
