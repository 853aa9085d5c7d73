// Package control has the words in which the core and a driver process speak of links, devices
// and points: what is desired of a process (State), what is known of it (Status, Event,
// LastValue), and the calls between the two (Plane). The engine implements Plane inside the
// driver process, the client of the process boundary in the core.
//
// A State belongs to whoever made it and is not changed once it has been applied. All
// values may be read concurrently.
package control
