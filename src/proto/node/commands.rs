//! What a front end asks of the node, and who does it.

use std::sync::Arc;

use super::{Node, Role};
use crate::{
    api::{NodeCommand, NodeEvent},
    model::{CommandError, ErrorKind, SafeText, Status},
    proto::Output,
};

impl Node {
    pub(super) fn carry_out(&mut self, command: NodeCommand) -> Result<(), CommandError> {
        match (command, &mut self.role) {
            (NodeCommand::Leave, _) => self.leave(),
            (NodeCommand::Peers, role) => {
                let event = role.group().roster_event();
                self.event(event);
            }
            (NodeCommand::Send { to, text, reference }, _) => {
                let reference: Option<Arc<str>> = reference.map(Into::into);
                if let Err(error) = self.send(self.now, &to, &text, reference.clone()) {
                    let message = SafeText::line(&error.to_string());
                    let refused = Some(Box::new((to, text)));
                    self.event(NodeEvent::Error { kind: ErrorKind::Send, message, reference, refused });
                }
            }
            (NodeCommand::Ways, Role::Host(host)) => {
                let rows = host.group.reachability.reached();
                self.event(NodeEvent::Ways { rows });
            }
            (NodeCommand::Ways, Role::Member(member)) => member.ask_reachability(),
            (NodeCommand::TakeOver, Role::Member(member)) => return member.take_over(),
            (NodeCommand::TakeOver, Role::Host(_)) => {
                return Err(CommandError::Yourself("you are the host already"));
            }
            (NodeCommand::Rejoin, Role::Member(member)) => member.rejoin_now(),
            (NodeCommand::Rejoin, Role::Host(_)) => {}
            (NodeCommand::Nick { alias }, role) => {
                let status = role.group().own_status();
                return role.present(Some(alias), status);
            }
            (NodeCommand::Away { text }, role) => {
                return role.present(None, text.as_deref().and_then(Status::new));
            }
            (NodeCommand::Verify { peer }, role) => {
                let peer = role.group().named(&peer)?;
                return self.mesh.verifying.start(role.group(), peer);
            }
            (NodeCommand::Compared { peer, words }, role) => {
                let peer = role.group().named(&peer)?;
                return self.mesh.verifying.answer(role.group(), peer, words.as_deref());
            }
            (NodeCommand::Cleartext { allow }, role) => {
                let group = role.group_mut();
                group.cleartext.decided = Some(allow);
                let event = group.set_clear(allow, false);
                self.outputs.extend(event.map(Output::Event));
                self.mesh.clear_changed(self.role.group());
                if let Role::Member(member) = &mut self.role {
                    member.decided();
                }
            }
            (NodeCommand::Invite { uses, hours, pass, .. }, Role::Member(member)) => {
                return member.invite(uses, hours, pass);
            }
            (command, Role::Host(host)) => return host.command(&mut self.limiter, command),
            (_, Role::Member(_)) => return Err(CommandError::NotTheHost),
        }
        Ok(())
    }
}
