// Package carrier is what a wire is made of: a TCP connection, TLS, UDP, a serial port, or a
// serial port behind a server on the network. It carries bytes and knows no protocol, so that
// the drivers that share it frame the same way over every carrier.
//
//   - An Address says which carrier, and where: it is parsed from a text such as
//     tcp://192.0.2.17:502, tls://plc.example, udp://192.0.2.17:502, /dev/ttyUSB0,
//     serial:///dev/ttyUSB0 or rfc2217://moxa.example:4001.
//   - Settings are the keys of a link that belong to its carrier. A driver embeds them in its
//     own settings.
//   - A Conn is an open carrier: a net.Conn whose deadlines hold on every carrier.
//
// tcp:// is the bytes as they are: also the raw mode of a serial server. rfc2217:// is the
// telnet protocol in which a client sets the port's rate and framing itself (RFC 2217).
package carrier
