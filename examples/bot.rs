//! A bot that answers whoever writes to it alone: `PYILE_PASSWORD=… cargo run --example bot -- HOST`

use pyile::{
    JoinOptions, Network, Profile,
    api::{NodeCommand, NodeEvent, PeerName, Target},
    model::{Alias, Password, Recipient},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).ok_or("usage: bot HOST")?;
    let password = Password::new(std::env::var("PYILE_PASSWORD")?);
    let options = JoinOptions::new(&host, Alias::new("echo")?, password);
    let mut network = Network::join(options, Profile::ephemeral()?)?;
    while let Some(event) = network.next_event().await {
        match event {
            NodeEvent::Message { from, to: Recipient::Peer(_), text, own: false, .. } => {
                let to = Target::Peer(PeerName::Id(from.peer_id));
                let text = format!("{}, you said: {text}", from.alias);
                network.command(NodeCommand::Send { to, text, reference: None }).await;
            }
            NodeEvent::Left { message, .. } => println!("{message}"),
            _ => {}
        }
    }
    Ok(())
}
