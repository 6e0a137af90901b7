//! The seed's joining peer: `PYILE_PASSWORD=… cargo run --example peer -- HOST ALIAS`

use pyile::{
    JoinOptions, Network, Profile,
    model::{Alias, Password},
};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [host, alias] = words.as_slice() else { return Err("usage: peer HOST ALIAS".into()) };
    let options = JoinOptions::new(host, Alias::new(alias)?, Password::new(std::env::var("PYILE_PASSWORD")?));
    let (network, mut events) = Network::join(options, Profile::ephemeral()?)?;
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => println!("{event:?}"),
                None => return Ok(()),
            },
            line = lines.next_line() => match line?.as_deref() {
                None | Some("exit") => break,
                Some("peers") => println!("{:?}", network.members().await?),
                Some(text) => println!("{:?}", network.broadcast(text).await),
            },
        }
    }
    println!("{}", network.leave().await);
    Ok(())
}
