// Package wire is what both sides of the process boundary must agree on: how a State, a
// Status, an Event and a Frame are encoded, how errors cross, the handshake and its
// environment variables, the keys (Identity) and the file in which a process says where it
// is reached (Record), and the limits of messages.
//
// Encode and Decode functions are pure and may be called concurrently. A decoder takes bytes
// from outside: it checks what it counts before it allocates. Inspect judges a frame
// without decoding it.
package wire
