//! Two networks in one process, and what is said to everyone in one said in the other:
//! `PYILE_PASSWORD=… cargo run --example bridge -- HOST HOST`. Both have the same password here.

use pyile::{
    Events, JoinOptions, Network, Profile,
    api::NodeEvent,
    model::{Alias, Password, Recipient},
};

/// What is to be said in the other network.
fn to_pass_on(event: Option<NodeEvent>) -> Result<Option<String>, &'static str> {
    match event.ok_or("one of the networks is gone")? {
        NodeEvent::Message { from, to: Recipient::Everyone, text, own: false, .. } => {
            Ok(Some(format!("{}: {text}", from.alias)))
        }
        _ => Ok(None),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    let [one, other] = hosts.as_slice() else { return Err("usage: bridge HOST HOST".into()) };
    let password = Password::new(std::env::var("PYILE_PASSWORD")?);
    let alias = Alias::new("bridge")?;
    let join = |host: &String| -> Result<(Network, Events), Box<dyn std::error::Error>> {
        let options = JoinOptions::new(host, alias.clone(), password.clone());
        Ok(Network::join(options, Profile::ephemeral()?)?)
    };
    let ((left, mut left_events), (right, mut right_events)) = (join(one)?, join(other)?);
    loop {
        tokio::select! {
            event = left_events.next() => if let Some(text) = to_pass_on(event)? {
                right.broadcast(text).await?;
            },
            event = right_events.next() => if let Some(text) = to_pass_on(event)? {
                left.broadcast(text).await?;
            },
        }
    }
}
