package simulator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Protocol is what a server speaks.
type Protocol string

// The protocols.
const (
	Modbus Protocol = "modbus" // Modbus TCP
	MQTT   Protocol = "mqtt"   // an embedded broker, MQTT 3.1.1
	Serial Protocol = "serial" // lines over a PTY

	Playback Protocol = "playback" // what a recording has, over TCP
)

// Config is what to simulate. Load reads it from a file; a test writes it in Go. Its parts are
// not changed after Run, and may be shared.
type Config struct {
	Servers  []ServerConfig
	Schedule []Scheduled
	// Protocols are those that an author brings, by the names of ServerConfig.Protocol.
	Protocols map[Protocol]Maker
	Times     int          // poll times kept for each device, 0 means 65,536
	Log       *slog.Logger // nil is silent
}

// ServerConfig is one listening port, one broker or one serial line, with the devices behind it.
type ServerConfig struct {
	Name      string
	Protocol  Protocol
	Listen    string // host:port; empty is a free port of 127.0.0.1
	Framing   string // of a Modbus server: mbap, rtu or ascii; empty is rtu on a tty, mbap otherwise
	Over      string // of a Modbus server: tcp (the default), udp, tls or tty
	Recording string // of a server that plays back: the file
	Line      Line   // of a serial server, or of a Modbus server over a tty
	Devices   []DeviceConfig
}

// Line is how a serial line behaves.
type Line struct {
	Link  string // a symbolic link to the tty, made at the start and removed at the end; none when empty
	Baud  int    // paces the bytes that instruments send, ten bits a byte; 0 sends them at once
	End   string // ends a line that an instrument sends, default "\r\n"
	Ends  string // the bytes each of which ends a line that it receives, default "\r\n"
	Bytes bool   // texts are bytes: each character up to U+00FF is one, and what is received is read so
	Sum   string // what stands behind the text, before End, of everything that is sent: see Sums; none when empty
	From  int    // the byte of the text from which on it is summed
	Alone bool   // instruments send without being asked even while nobody has the tty open
}

// DeviceConfig is one simulated device. A name is used once in a whole simulator.
type DeviceConfig struct {
	Name string
	Unit byte   // Modbus unit id; 0 answers any, and is then the server's only device
	Seed uint64 // tells devices of one image apart; 0 takes one from the name

	Image *Image // of a Modbus device; nil is StandardImage(100). Devices that share an Image share its memory.

	Points   []Point       // of an MQTT or serial device; of a Modbus device, in place of an image
	Publish  []Publication // of an MQTT device
	Set      string        // topic on which an MQTT device takes values, with {device} and {point}; empty takes none
	Exchange []Exchange    // of a serial device
	Send     []Telegram    // of a serial device
}

// Image is what a kind of Modbus device has in its tables.
type Image struct {
	Points  []Point
	Ranges  []string // readable addresses as `holding:0-99`; where none is listed every unlisted address reads 0. Default: from the first point to the last
	Illegal []string // addresses as `holding:50` or `holding:50-52`; a block that touches one is answered with exception 2
}

// Point is one datum of a device.
type Point struct {
	Name     string
	Address  string        // of a Modbus device: `coil:0`, `discrete:0`, `input:0` or `holding:0`, counted from 0
	Type     string        // of a Modbus device: uint16 (the default, bool for coil and discrete), int16, uint32, int32, uint64, int64, float32, float64, bool, string
	Order    string        // of a Modbus device: abcd (the default), cdab, badc or dcba
	Length   int           // bytes of a string
	Signal   signal.Signal // nil is constantly 0
	Writable bool          // a write ends the signal: the point keeps the value
}

// Publication is a message that an MQTT device sends again and again.
type Publication struct {
	Topic   string        // with {device}
	Payload string        // a template, {point} or {point:%.2f} inside any text; empty is a JSON object of all points
	Every   time.Duration // default 1 s; devices start spread over the first period
	QoS     byte          // 0 or 1
	Retain  bool
}

// Exchange is a request that a serial device answers.
type Exchange struct {
	Match string // a regular expression for the whole line; a named group sets the writable point of that name
	Reply string // a template as in Publication; empty answers nothing
}

// Telegram is a line that a serial device sends without being asked.
type Telegram struct {
	Line  string // a template as in Publication
	Every time.Duration
}

// Scheduled is a fault at a time: from At after the start, for For or, when that is 0, to the end.
type Scheduled struct {
	Server string // one of the two
	Device string
	Fault  Fault
	At     time.Duration
	For    time.Duration
}

// foreign complains about settings that belong to another protocol, which would be ignored otherwise.
func (c *ServerConfig) foreign() error {
	tty := c.Protocol == Serial || c.Protocol == Modbus && c.Over == overTTY
	switch {
	case !tty && c.Line != (Line{}):
		return fmt.Errorf("link, baud, end and alone belong to a %s server, link and baud also to a %s server over: tty", Serial, Modbus)
	case c.Protocol == Modbus && c.Line != (Line{Link: c.Line.Link, Baud: c.Line.Baud}):
		return fmt.Errorf("all but link and baud belong to a %s server", Serial)
	case c.Protocol != Playback && c.Recording != "":
		return fmt.Errorf("a recording belongs to a %s server", Playback)
	case c.Protocol != Modbus && (c.Framing != "" || c.Over != ""):
		return fmt.Errorf("framing and over belong to a %s server", Modbus)
	case c.Protocol == Modbus && tty && c.Listen != "":
		return errors.New("a server over: tty does not listen: its tty is made, and found by its link")
	}
	if c.Protocol == Serial && c.Listen != "" {
		return errors.New("a serial server does not listen: its tty is made, and found by its link")
	}
	for i := range c.Devices {
		d := &c.Devices[i]
		for _, s := range []struct {
			used  bool
			keys  string
			owner Protocol
		}{
			{d.Unit != 0 || d.Image != nil, "unit and image", Modbus},
			{d.Set != "" || len(d.Publish) > 0, "publish and set", MQTT},
			{len(d.Exchange) > 0 || len(d.Send) > 0, "exchange and send", Serial},
		} {
			if s.used && s.owner != c.Protocol {
				return &deviceError{d.Name, fmt.Errorf("%s belong to a device of a %s server", s.keys, s.owner)}
			}
		}
	}
	return nil
}
