// Package mqtt is the driver for MQTT 3.1.1 brokers.
//
// A link is one session with one broker, a device is a set of topics, and a point
// is a value taken from the messages of a topic. Nothing is polled: the broker
// sends, so a device is a driver.Subscriber, and a driver.Writer that publishes.
//
// # Addresses
//
// An address says which messages a point is taken from, and how:
//
//	address = filter [ SP take ] { SP option } .
//	filter  = topic filter of MQTT 3.1.1, clause 4.7; "+" and "#" are wildcards .
//	take    = type | [ "json" SP ] path [ SP type ] .
//	type    = "auto" | "number" | "integer" | "text" | "bool" | "bytes" .
//	path    = "$" { "." name | "[" index "]" | "[" quoted "]" } .
//	option  = "set=" topic | "optional" .
//	name    = letters, digits, "_", "-" and whatever else is none of . [ ] " SP .
//	index   = decimal digits, from 0 .
//	quoted  = a JSON string .
//	SP      = one or more spaces .
//
// A filter or topic that contains a space or a quote is written as a JSON string. Examples:
//
//	plant/line1/temp                       a number, or else text
//	plant/line1/count integer
//	plant/+/state bool
//	plant/line1 json $.motor.rpm           a field of a JSON object
//	plant/line1 $.cells[0]["cell voltage"] number optional
//	zigbee/lamp $.state text set=zigbee/lamp/set
//
// Types: auto takes a payload that is a decimal number as a float64 and any other as text; from
// JSON it takes what the field is. Number is a float64, integer an int64 (uint64 above its
// range), so that a point has one kind for ever. Bool takes true, false, on, off, 1 and 0. Text
// must be UTF-8. Bytes is the payload as it is.
//
// What does not fit gives a Bad sample with the fault Protocol; a path that leads
// nowhere gives NotFound, or no sample at all where the address says optional.
//
// # Writes
//
// A write publishes on the topic after set=, or on the filter itself where it has no wildcard.
// A point with a path publishes an object with that one field, so a path with an index can't be
// written. With QoS 1 or 2 a write returns when the broker has acknowledged it; with QoS 0
// nobody acknowledges anything, and it returns when the message has left. A write whose
// acknowledgement did not come may have been delivered, and says so.
//
// # What is delivered how often
//
// With QoS 1 and a session that lasts (clean_session false, the default) a message is
// acknowledged to the broker only when all its samples are on the gateway's disk, and in the
// order in which the messages came. Whatever was not acknowledged the broker sends again on the
// next connection, so nothing is lost while the broker keeps the session: samples arrive at
// least once.
//
// They can arrive twice: a message whose samples were stored while its acknowledgement was lost
// with the connection comes again and is sampled again. Suppressed is only a repetition, on the
// same connection, of a message that is still unacknowledged. QoS 2 is no better here than QoS
// 1, because a message is acknowledged after it is stored and not before. A broker may also
// deliver a message once for each of several overlapping filters (clause 3.3.5); each delivery
// is a sample of every point that it matches.
//
// A message that matches no point, a malformed or an oversized one, is acknowledged too: the
// broker would send it again for ever, and stop sending others when its window of
// unacknowledged messages is full of them.
//
// The driver never unsubscribes: what is subscribed to while it is stopped is what the
// broker keeps for it. So a filter that is configured no longer stays in the session,
// and its messages are acknowledged and dropped, until the session ends at the
// broker or client_id is changed. When a device is taken out while its link is
// open, the next message for it ends the connection after five seconds, once.
//
// A message with QoS 0 that finds the link's queue full, or that is in it when the link is
// closed, is lost: it is counted, logged, and a gap tells of its samples. A write with
// QoS 0 is acknowledged by nobody: it counts as written when it is on the wire.
// One with QoS 1 ends the connection instead: the broker keeps it.
//
// A retained message gives a Good sample with the time of its arrival: MQTT does
// not tell how old it is. Brokers send it again at every connection. A device
// whose messages carry their time says so with time and time_format.
package mqtt
