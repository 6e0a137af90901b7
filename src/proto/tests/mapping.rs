//! Ports that a router opens for the host.

use super::*;

impl Sim {
    fn behind(router: Result<&str, &str>) -> Self {
        let mut config = host_config();
        config.map_port = true;
        config.policy.members_invite = true;
        let router = router.map(|addr| addr.parse().unwrap()).map_err(str::to_owned);
        Self::host_with_router(config, router)
    }

    /// What was told of the router last: where, and in words.
    fn told_of_router(&self, index: usize) -> Vec<(Option<SocketAddr>, String)> {
        let told = |event: &NodeEvent| match event {
            NodeEvent::PortMapping { addr, message, .. } => Some((*addr, message.to_string())),
            _ => None,
        };
        self.events[index].iter().filter_map(told).collect()
    }

    fn invited_to(&mut self, index: usize) -> Vec<SocketAddr> {
        self.command(index, NodeCommand::Invite { uses: None, hours: None, pass: true, addrs: Vec::new() });
        let link = |event: &NodeEvent| match event {
            NodeEvent::Invite { link, .. } => Some(link.0.addrs.clone()),
            _ => None,
        };
        self.events[index].iter().rev().find_map(link).unwrap()
    }

    fn addrs_of_host(&self, index: usize) -> Vec<SocketAddr> {
        let group = self.nodes[index].role.group();
        group.roster.get(&self.ids[0]).unwrap().addrs.clone()
    }
}

#[test]
fn what_the_router_opens_stands_in_invites_and_in_the_roster_and_is_asked_for_again() {
    let mut sim = Sim::behind(Ok("1.2.3.7:4702"));
    let ann = sim.join("ann");
    let outside: SocketAddr = "1.2.3.7:4702".parse().unwrap();
    assert_eq!(sim.told_of_router(0).len(), 1);
    assert_eq!(sim.told_of_router(0)[0].0, Some(outside));
    let inside: SocketAddr = "10.0.0.1:4702".parse().unwrap();
    assert_eq!(sim.invited_to(0), [outside, inside]);
    assert_eq!(sim.invited_to(ann)[1], outside, "also by a member, after where it reaches the host itself");
    let peer: SocketAddr = "1.2.3.7:50000".parse().unwrap();
    assert_eq!(sim.addrs_of_host(ann), ["10.0.0.1:50000".parse().unwrap(), peer], "it is tried last");
    // It was opened for ten minutes.
    let asked = sim.mapped.len();
    sim.wait(290.0);
    assert_eq!(sim.mapped.len(), asked);
    sim.wait(20.0);
    assert_eq!(sim.mapped.len(), asked + 1);
    assert_eq!(sim.told_of_router(0).len(), 1, "nothing new is told");
    // The router has another address, and none in the end.
    sim.router = Ok("1.2.3.8:4703".parse().unwrap());
    sim.nodes[0].handle(sim.now, Input::Suspended(Duration::from_secs(60)));
    sim.wait(5.0);
    assert_eq!(sim.invited_to(0)[0], "1.2.3.8:4703".parse().unwrap());
    assert_eq!(sim.addrs_of_host(ann)[1], "1.2.3.8:50000".parse().unwrap());
    sim.router = Err("the router is gone".to_owned());
    sim.wait(301.0);
    assert_eq!(sim.told_of_router(0).last().unwrap().0, None);
    assert!(
        sim.told_of_router(0).last().unwrap().1.contains("since the router is gone"),
        "{:?}",
        sim.told_of_router(0)
    );
    assert_eq!(sim.invited_to(0), [inside]);
    assert_eq!(sim.addrs_of_host(ann).len(), 1);
    let asked = sim.mapped.len();
    sim.wait(limits::MAPPING_RETRY.as_secs_f64() + 1.0);
    assert_eq!(sim.mapped.len(), asked + 1, "it may be there again");
}

#[test]
fn an_address_that_is_not_of_the_internet_is_told_and_not_used() {
    for addr in [
        "192.168.0.2:4702",
        "100.64.3.4:4702",
        "127.0.0.1:4702",
        "255.255.255.255:4702",
        "239.1.1.1:4702",
        "0.0.0.0:4702",
        "203.0.113.9:4702",
        "1.2.3.4:0",
    ] {
        let mut sim = Sim::behind(Ok(addr));
        let told = sim.told_of_router(0).remove(0);
        assert!(told.0.is_none() && told.1.contains("not one of the internet"), "{told:?}");
        assert_eq!(sim.invited_to(0), ["10.0.0.1:4702".parse().unwrap()]);
        assert_eq!(sim.addrs_of_host(0).len(), 1);
    }
}

#[test]
fn a_host_asks_no_router_that_it_was_not_told_to_ask_and_gives_back_when_it_hands_over() {
    let mut sim = Sim::host();
    sim.wait(10.0);
    assert!(sim.mapped.is_empty());
    let mut sim = Sim::behind(Ok("1.2.3.7:4702"));
    let bob = sim.join("bob");
    sim.command(0, NodeCommand::Handover { peer: "bob".parse().unwrap() });
    sim.wait(1.0);
    assert_eq!(sim.mapped.last(), Some(&None));
    assert_eq!(sim.told_of_router(bob), [], "the next host has not asked for that");
}
