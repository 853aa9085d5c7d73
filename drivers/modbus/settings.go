package modbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Limits of the specification, for one request.
const (
	maxReadRegisters  = 125  // clauses 6.3 and 6.4
	maxReadBits       = 2000 // clauses 6.1 and 6.2
	maxWriteRegisters = 123  // clause 6.12
	bitsPerRegister   = 16
)

const (
	defaultPort   = "502"
	maxWindow     = 64
	defaultGap    = 8 // about what a request of its own costs in bytes on a serial line behind a gateway
	singleUnit    = 255
	highestUnit   = 247
	defaultWindow = 1
)

type linkSettings struct {
	URL    string `json:"url"`
	Window int    `json:"window"`

	address string // host:port
}

func parseLink(settings json.RawMessage) (linkSettings, error) {
	s := linkSettings{Window: defaultWindow}
	if err := driver.DecodeSettings(settings, &s); err != nil {
		return s, &driver.ConfigError{Text: err.Error()}
	}
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	address, err := dialAddress(s.URL)
	if err != nil {
		fault("url", "%v", err)
	}
	s.address = address
	if s.Window < 1 || s.Window > maxWindow {
		fault("window", "%d is out of range: use 1 to %d", s.Window, maxWindow)
	}
	return s, errors.Join(errs...)
}

// dialAddress turns tcp://host[:port] into host:port.
func dialAddress(raw string) (string, error) {
	if raw == "" {
		return "", errors.New("it is missing: write it as tcp://HOST:PORT")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "tcp" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not of the form tcp://HOST:PORT", raw)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	if err := driver.CheckEndpoint(u.Hostname(), port); err != nil {
		return "", err
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

type deviceSettings struct {
	Unit      int    `json:"unit"`
	Order     string `json:"order"`
	Write     string `json:"write"`
	WriteCoil string `json:"write_coil"`
	WriteBit  string `json:"write_bit"`
	MaxBlock  int    `json:"max_block"`
	Gap       int    `json:"gap"`
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
	check(s.Unit >= 0 && (s.Unit <= highestUnit || s.Unit == singleUnit), "unit", s.Unit, "0 to 247, or 255")
	check(s.Write == writeAuto || s.Write == writeSingle || s.Write == writeMultiple, "write", s.Write, "auto, fc6 or fc16")
	check(s.WriteCoil == coilSingle || s.WriteCoil == coilMultiple, "write_coil", s.WriteCoil, "fc5 or fc15")
	check(s.WriteBit == bitMask || s.WriteBit == readModifyWrite, "write_bit", s.WriteBit, "mask or read_modify_write")
	check(s.MaxBlock >= 1 && s.MaxBlock <= maxReadRegisters, "max_block", s.MaxBlock, "1 to 125")
	check(s.Gap >= 0 && s.Gap <= maxReadRegisters-2, "gap", s.Gap, "0 to 123")
	return s, errors.Join(errs...)
}

// parsePoints compiles the addresses of a device's points.
func parsePoints(device string, points []driver.Point, s deviceSettings) ([]Address, error) {
	order, _ := parseOrder(s.Order)
	addresses := make([]Address, len(points))
	var errs []error
	for i, p := range points {
		a, err := ParseAddress(p.Address)
		if err == nil && !a.Table.bits() && a.items() > s.MaxBlock {
			err = fmt.Errorf("address %q takes %d registers, more than the device's max_block of %d", p.Address, a.items(), s.MaxBlock)
		}
		if err != nil {
			errs = append(errs, &driver.ConfigError{Device: device, Point: p.Name, Key: "address", Text: err.Error()})
		}
		if a.Order == DefaultOrder {
			a.Order = order
		}
		addresses[i] = a
	}
	return addresses, errors.Join(errs...)
}
