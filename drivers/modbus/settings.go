package modbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/planner"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// Limits of the specification, for one request.
const (
	maxReadRegisters  = 125  // clauses 6.3 and 6.4
	maxReadBits       = 2000 // clauses 6.1 and 6.2
	maxWriteRegisters = 123  // clause 6.12
	bitsPerRegister   = 16
)

const (
	maxWindow     = 64
	defaultGap    = 8 // about what a request of its own costs in bytes on a serial line behind a gateway
	highestUnit   = 255
	defaultWindow = 1
)

type linkSettings struct {
	carrier.Settings
	URL            string           `json:"url"`
	Framing        string           `json:"framing"`
	Window         int              `json:"window"`
	Turnaround     carrier.Duration `json:"turnaround"`
	Echo           any              `json:"echo"`
	CloseAfterPoll bool             `json:"close_after_poll"`
	Ignore         []string         `json:"ignore"`

	address *carrier.Address
	framing framing
}

// echoAuto has the driver find out whether a line hears what it sends; true and false say it.
const echoAuto = "auto"

// ports are those of a URL without one: Modbus/TCP's, and that of Modbus/TCP Security.
var ports = map[string]string{"tcp": "502", "udp": "502", "tls": "802"}

const (
	maxTurnaround = 10 * time.Second
	// afterPoll is how long a connection that is to be closed after each poll is kept for the
	// next device of the same slot.
	afterPoll = 50 * time.Millisecond
)

func parseLink(cfg driver.LinkConfig) (linkSettings, error) {
	// Even parity is the default of a serial line (Modbus over Serial Line V1.02, clause 2.5.1).
	s := linkSettings{Settings: carrier.Defaults("even"), Window: defaultWindow, Echo: echoAuto}
	if err := driver.DecodeSettings(cfg.Settings, &s); err != nil {
		return s, &driver.ConfigError{Text: err.Error()}
	}
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	address, err := carrier.Parse(s.URL, s.Settings, carrier.Options{Key: "url", Ports: ports})
	errs = append(errs, err)
	s.address = address
	if s.Window < 1 || s.Window > maxWindow {
		fault("window", "%d is out of range: use 1 to %d", s.Window, maxWindow)
	}
	if s.Turnaround < 0 || time.Duration(s.Turnaround) > maxTurnaround {
		fault("turnaround", "%v is not within 0s and %v", time.Duration(s.Turnaround), maxTurnaround)
	}
	if s.CloseAfterPoll && s.IdleClose > 0 {
		fault("close_after_poll", "it and idle_close say two things: leave one of them out")
	}
	s.setFraming(cfg.Gap, fault)
	return s, errors.Join(errs...)
}

// setFraming chooses the framing, and checks what depends on it.
func (s *linkSettings) setFraming(gap time.Duration, fault func(key, format string, args ...any)) {
	var l lenience
	for _, word := range s.Ignore {
		switch word {
		case ignoreTransaction:
			l.transaction = true
		case ignoreTrailing:
			l.trailing = true
		case ignoreUnit:
			l.unit = true
		default:
			fault("ignore", "%q is not transaction, trailing or unit", word)
		}
	}
	if s.Framing == "" && s.address != nil {
		s.Framing = framingMBAP
		if s.address.Line() {
			s.Framing = framingRTU
		}
	}
	e := newEcho(s.Echo == echoAuto, s.Echo == true)
	switch s.Echo {
	case echoAuto, true, false:
	default:
		fault("echo", "%v is not auto, true or false", s.Echo)
	}
	switch s.Framing {
	case framingRTU:
		s.framing = rtu{l, e}
	case framingASCII:
		s.framing = ascii{l, e}
	case framingMBAP:
		s.framing = mbap{l}
		if s.address != nil && s.address.Line() {
			fault("framing", "mbap is not spoken on a serial line: use rtu or ascii")
		}
	case "":
	default:
		fault("framing", "%q is not mbap, rtu or ascii", s.Framing)
	}
	serial := s.framing != nil && s.framing.serial()
	switch {
	case s.Window > 1 && serial:
		fault("window", "%d: with framing: %s one request is in flight at most, for an answer does not say whose it is", s.Window, s.Framing)
	case s.Window > 1 && (l.transaction || l.trailing):
		fault("window", "%d: with ignore: %s or %s one request is in flight at most", s.Window, ignoreTransaction, ignoreTrailing)
	}
	if gap > 0 {
		s.Window = defaultWindow // as the engine has it
	}
	if s.Echo == true && s.framing != nil && !serial {
		fault("echo", "with framing: mbap nothing that is sent comes back: it is for rtu and ascii")
	}
}

// silence is the least time between two frames: what the configuration asks for, and on a
// serial line 3.5 characters, or 1.75 ms above 19200 bit/s (Modbus over Serial Line V1.02,
// clause 2.5.1.1).
func (s *linkSettings) silence(gap time.Duration) time.Duration {
	least := max(gap, time.Duration(s.Turnaround))
	if s.Framing != framingRTU || !s.address.Line() {
		return least
	}
	if s.Baud > 19200 {
		return max(least, 1750*time.Microsecond)
	}
	return max(least, 7*s.character()/2)
}

// character is how long a character takes on a serial line; 0: there is none.
func (s *linkSettings) character() time.Duration {
	if !s.address.Line() {
		return 0
	}
	return time.Duration(s.BitsPerCharacter()) * time.Second / time.Duration(s.Baud)
}

type deviceSettings struct {
	Unit      int    `json:"unit"`
	Order     string `json:"order"`
	Write     string `json:"write"`
	WriteCoil string `json:"write_coil"`
	WriteBit  string `json:"write_bit"`
	MaxBlock  int    `json:"max_block"`
	Gap       int    `json:"gap"`

	NeverAcross []string        `json:"never_across"`
	Blocks      []blockSettings `json:"blocks"`
	Broadcast   bool            `json:"broadcast"`

	plan []planner.Block // of blocks and never_across
}

// How values are written, as in the settings.
const (
	writeAuto       = "auto"
	writeSingle     = "fc6"
	writeMultiple   = "fc16"
	coilSingle      = "fc5"
	coilMultiple    = "fc15"
	bitMask         = "mask"
	readModifyWrite = "read_modify_write"
)

func parseDevice(name string, settings json.RawMessage) (deviceSettings, error) {
	s := deviceSettings{
		Unit: 1, Order: ABCD.String(), Write: writeAuto, WriteCoil: coilSingle, WriteBit: bitMask,
		MaxBlock: maxReadRegisters, Gap: defaultGap,
	}
	if err := driver.DecodeSettings(settings, &s); err != nil {
		return s, &driver.ConfigError{Device: name, Text: err.Error()}
	}
	var errs []error
	check := func(ok bool, key string, value any, takes string) {
		if !ok {
			errs = append(errs, &driver.ConfigError{Device: name, Key: key, Text: fmt.Sprintf("%v is not allowed: use %s", value, takes)})
		}
	}
	_, orderOK := parseOrder(s.Order)
	check(orderOK, "order", s.Order, "abcd, dcba, badc or cdab")
	check(s.Unit >= 0 && s.Unit <= highestUnit, "unit", s.Unit, "0 to 255")
	check(s.Write == writeAuto || s.Write == writeSingle || s.Write == writeMultiple, "write", s.Write, "auto, fc6 or fc16")
	check(s.WriteCoil == coilSingle || s.WriteCoil == coilMultiple, "write_coil", s.WriteCoil, "fc5 or fc15")
	check(s.WriteBit == bitMask || s.WriteBit == readModifyWrite, "write_bit", s.WriteBit, "mask or read_modify_write")
	check(s.MaxBlock >= 1 && s.MaxBlock <= maxReadRegisters, "max_block", s.MaxBlock, "1 to 125")
	check(!s.Broadcast || s.Unit == 0, "broadcast", s.Broadcast, "it with unit: 0 only, the address of all units of a bus")
	for i, b := range s.Blocks {
		if err := s.addBlock(b.At, b.Max); err != nil {
			errs = append(errs, &driver.ConfigError{Device: name, Key: "blocks", Text: fmt.Sprintf("block %d: %v", i+1, err)})
		}
	}
	for _, at := range s.NeverAcross {
		if err := s.addBreak(at); err != nil {
			errs = append(errs, &driver.ConfigError{Device: name, Key: "never_across", Text: err.Error()})
		}
	}
	check(s.Gap >= 0 && s.Gap <= maxReadRegisters-2, "gap", s.Gap, "0 to 123")
	return s, errors.Join(errs...)
}

// broadcast reports whether the device is all units of a bus, none of which answers.
func (s *deviceSettings) broadcast(serial bool) bool { return s.Unit == 0 && (s.Broadcast || serial) }

// parsePoints compiles the addresses of a device's points. On a serial line unit 0 is a
// broadcast.
//
// Those with a function of their own are in owns, which is nil where there are none.
func parsePoints(device string, points []driver.Point, s deviceSettings, serial bool) (addresses []Address, owns []*own, err error) {
	order, _ := parseOrder(s.Order)
	addresses = make([]Address, len(points))
	var errs []error
	for i, p := range points {
		o, isOwn, err := parseOwn(p.Address)
		var a Address
		writable := false
		switch {
		case !isOwn:
			a, err = ParseAddress(p.Address)
			writable = a.Table.writable()
		case o != nil:
			if owns == nil {
				owns = make([]*own, len(points))
			}
			if owns[i] = o; o.record.Order == DefaultOrder {
				o.record.Order = order
			}
			writable = o.writable()
		}
		if err == nil && p.Access == driver.WriteOnly && !writable {
			errs = append(errs, &driver.ConfigError{Device: device, Point: p.Name, Key: "access",
				Text: fmt.Sprintf("address %q can only be read: leave out access: w", p.Address)})
		}
		if err == nil && !isOwn && !a.Table.bits() && a.items() > s.MaxBlock {
			err = fmt.Errorf("address %q takes %d registers, more than the device's max_block of %d", p.Address, a.items(), s.MaxBlock)
		}
		if err == nil && !isOwn {
			err = s.fits(a)
		}
		if err != nil {
			errs = append(errs, &driver.ConfigError{Device: device, Point: p.Name, Key: "address", Text: err.Error()})
		}
		if s.broadcast(serial) && p.Access.Reads() {
			errs = append(errs, &driver.ConfigError{Device: device, Point: p.Name, Key: "access",
				Text: "unit 0 is all units of the bus, and none of them answers: its points can only be written, with access: w"})
		}
		if a.Order == DefaultOrder {
			a.Order = order
		}
		addresses[i] = a
	}
	return addresses, owns, errors.Join(errs...)
}
