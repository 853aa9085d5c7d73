// Package simulator is a plant to test against: devices that answer, misbehave on demand, and
// count what was asked of them.
//
// A Simulator has servers: a Modbus TCP port, an MQTT broker or a serial line, each with
// devices behind it. A device has points, a point has a signal, which is its value as a
// function of time. Start runs one for a test on free ports; Load and Run are what `fieldloom
// sim` does. It is an independent witness: it is written from the specifications and shares no
// code with a driver.
//
// # The witness
//
// Everything is counted, for each device: requests, answers, bytes, exceptions, writes with
// their values, and polls with their times. A point with the signal `slot` proves that each
// poll arrived once. Its value is the number of polls that the device has served, the one that
// reads it included: the first poll reads 1, the next 2. A Modbus request is a poll when it
// reads all registers of the slot, which then belong together; for MQTT and serial devices it
// is each message with the slot in it. A poll is counted when the kernel, or the session of a
// subscriber, has taken the answer to its last byte, and whoever has seen the answer finds it
// counted. A poll that was not answered, or wrongly on purpose, is none, and the next poll has
// its value. So a gateway that lost nothing has every number from 1 to Device.Slot exactly
// once, with two exceptions: Device.Unserved, answers on a connection that broke in the write;
// and answers that the kernel took and the client did not wait for, because it had closed the
// connection or given the request up. A test that provokes time-outs allows for these.
//
// # Modbus
//
// Function codes 1 to 8, 11, 12, 15 to 17, 20 to 24 and 43/14 of the MODBUS Application Protocol
// V1.1b3, with its exceptions 1, 2 and 3. A server speaks MBAP, RTU or ASCII (framing) over TCP,
// UDP, TLS or a tty (over); Server.Authority is the certificate by which a client knows one over
// TLS. Over MBAP a unit id that no device has gives exception 11; with RTU and ASCII it keeps
// silent, and unit 0 is a broadcast. Requests that arrive together are answered together, in
// their order. What may be written and what lies in a
// declared range is memory; a point follows its signal until it is written.
//
// # MQTT
//
// The broker is mochi-mqtt, for clients of MQTT 3.1.1 and 5. The devices are no clients of it:
// their messages are put into the sessions of the subscribers in the process. A session that is
// not clean keeps what it has not acknowledged, up to 65,535 messages, over any disconnection
// and over Server.Restart, and has it sent again in order (of the last 65,536 messages of the
// broker). BrokerCounts.Dropped counts what exceeded a limit; a test of losses demands that it
// is 0. A subscriber that does not read holds up the devices when the socket's buffers are
// full; Missed counts the messages that were left out. Known limits of mochi-mqtt: a client's
// PUBLISH of QoS 1 removes a message in flight to it with the same packet id, and for a client
// of MQTT 5 that sets a Receive Maximum a message that had to wait for it is not kept until it
// is acknowledged.
//
// # Serial
//
// A line is a PTY in raw mode; Addr is the tty to open, or a link of a fixed name to it.
// Instruments answer lines that match a pattern, or send on their own while somebody has the
// tty open. Bytes are paced for the baud rate, which a PTY itself ignores. With bytes: true a
// text is bytes, each character up to U+00FF one of them, so that "\x02" begins a frame; sum puts
// a checksum behind every text, and ends says which bytes end what is received.
//
// # Faults
//
// A device, or a whole server, has one fault at a time, by the schedule of the file, by
// Device.Fault and Server.Fault, or while it runs by `fieldloom sim fault` on its socket
// (Simulator.Control). Faults lists those that a protocol has:
//
//	                                       Modbus  MQTT  serial
//	silent, slow, garbage, cut             x       x     x
//	late, drip, prefix, checksum, echo,    x             x
//	duplicate
//	half, exception, busy, most, unit,     x
//	transaction, no-transaction, length,
//	extra, noisy-echo, frozen, jump, deaf,
//	hasty, reset, once
//	of a server: refused                   x       x     x
//	of a server: unplugged                 x             x
//	of a server: idle, single              x
//
// What a fault makes up comes of the device's seed, and of the requests and answers so far: the
// same seed, asked the same, is the same run.
//
// A Modbus fault may be for a range of addresses (range: holding:0-99), for one function
// (function: 6), or for every so many requests (every: 3).
//
// # Recordings and other protocols
//
// Package record keeps what passes between a gateway and a real device (`fieldloom sim record`),
// and a server with `protocol: playback` and `recording: FILE` stands for the device afterwards:
// it answers what was asked then, with the bytes and after the times of then. What was never
// recorded gets no answer and is counted as stray.
//
// A protocol of an author is a Maker in Config.Protocols, by its name: a Speaker serves the
// connections of its server.
//
// # The file
//
// A useful file is ten lines: a thousand meters on ports 20001 to 21000, one of which falls
// silent for five seconds.
//
//	servers:
//	  plc[1..1000]:
//	    listen: 127.0.0.1:{20000+n}
//	    devices:
//	      m{n}: {image: meter}
//	images:
//	  meter: {registers: 100}
//	schedule:
//	  - {device: m7, fault: silent, at: 10s, for: 5s}
//
// A key with a range, `plc[1..1000]`, stands for as many entries, in which {n} is the number of
// each and {20000+n} a sum with it. All there is:
//
//	times: 65536                      # poll times kept for each device
//	images:                           # of Modbus devices, by name
//	  meter:
//	    registers: 100                # the standard image: slot at holding:0, then r2, r3 ... that count
//	    ranges: [holding:0-199]       # unlisted addresses in a range read 0, all others give exception 2
//	    illegal: [holding:150-151]    # a block that touches one gives exception 2
//	    points:
//	      setpoint: {address: "holding:100", type: float32, order: cdab, signal: 20.5, writable: true}
//	      serial:   {address: "holding:110", type: string, length: 12, signal: "A-0042"}
//	      run:      {address: "coil:0", signal: {square: {period: 20s, duty: 0.25}}, writable: true}
//	servers:
//	  plant:                          # a Modbus server; an empty listen is a free port
//	    protocol: modbus
//	    listen: 127.0.0.1:1502
//	    devices:
//	      u[1..10]: {unit: "{n}", image: meter}
//	  broker:
//	    protocol: mqtt
//	    listen: 127.0.0.1:1883
//	    devices:
//	      d[1..1000]:
//	        points:
//	          slot: {signal: slot}
//	          level: {signal: {walk: {low: 0, high: 10, step: 0.1, every: 1s, seed: 7}}}
//	          valve: {signal: 0, writable: true}
//	        publish:
//	          - {topic: "plant/{device}/slot", payload: "{slot}", every: 1s, qos: 1}
//	          - {topic: "plant/{device}/state", payload: '{"level":{level:%.2f},"valve":{valve}}', every: 5s, retain: true}
//	        set: "plant/{device}/{point}/set"
//	  scales:
//	    protocol: serial
//	    link: scales.tty              # beside this file
//	    baud: 9600
//	    devices:
//	      s1:
//	        points: {kg: {signal: {csv: {file: kg.csv, loop: true}}}, tare: {signal: 0, writable: true}}
//	        exchange:
//	          - {match: 'W', reply: "{kg:%07.3f} kg"}
//	          - {match: 'T (?P<tare>[0-9.]+)', reply: "ok"}
//	        send:
//	          - {line: "{kg:%.1f}", every: 2s}
//	schedule:
//	  - {server: plant, fault: refused, at: 30s, for: 10s}
//	  - {device: u3, fault: slow, delay: 250ms, at: 5s}
//
// Signals are `slot`, a constant as it is written, or one of constant, ramp (from, to, period),
// sine (mean, amplitude, period), square (low, high, period, duty), walk (low, high, step,
// every, seed), counter (start, step, every) and csv (file, loop). Faults are those of
// FaultKind, by their names.
package simulator
