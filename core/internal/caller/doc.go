// Package caller knows who calls the gateway's API.
//
// The nouns:
//
//   - A Peer is the process that opened a connection. It is held by a descriptor, so that
//     its number cannot become another process's unnoticed.
//   - Drivers are the driver processes of a gateway, each known before any of its code
//     runs. They say of a peer whether it is one of them, or was started by one.
//
// A driver runs as the gateway's user in most plants, so the mode of a socket cannot tell
// it from a person. What the kernel keeps can: who started whom, and which session a
// process is in. A confined driver cannot leave its session; an unconfined one
// can, so the gateway also stays the ancestor of what its drivers leave behind (Adopt).
// What is not known to be a person's is refused.
package caller
