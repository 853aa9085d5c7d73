package carrier

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Settings are the keys of a link that say how its carrier is set up. Make them with Defaults
// before decoding.
type Settings struct {
	Baud     int    `json:"baud"`      // bits a second
	DataBits int    `json:"data_bits"` // 5 to 8
	Parity   string `json:"parity"`    // none, odd, even, mark or space
	StopBits int    `json:"stop_bits"` // 1 or 2
	RS485    *RS485 `json:"rs485"`
	DTR      string `json:"dtr"` // on, off or leave, when the port is opened
	RTS      string `json:"rts"`

	TLS       *TLS      `json:"tls"`
	Source    string    `json:"source"`     // the own IP address to connect from
	KeepAlive *Duration `json:"keep_alive"` // of TCP: how long a connection is quiet before it is probed; 0s: never

	PauseAfterConnect Duration `json:"pause_after_connect"`
	IdleClose         Duration `json:"idle_close"`
}

// RS485 has the system switch a half-duplex transceiver by RTS (struct serial_rs485 of Linux).
type RS485 struct {
	RTSOnSend   string   `json:"rts_on_send"` // high or low
	DelayBefore Duration `json:"delay_before"`
	DelayAfter  Duration `json:"delay_after"`
	Receive     bool     `json:"receive_own"` // what is sent is heard
}

// TLS says which certificates are used, by files in PEM.
type TLS struct {
	CA         string `json:"ca"`          // that the server's has to be of; empty: the machine's
	Cert       string `json:"cert"`        // the client's own
	Key        string `json:"key"`         // its key: a file, or secret:NAME
	ServerName string `json:"server_name"` // where it is not the URL's host
}

// Duration is a time.Duration that is written as 100ms or 2s.
type Duration time.Duration

// UnmarshalJSON takes a text as time.ParseDuration does.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a time such as \"100ms\" expected, not %s", b)
	}
	v, err := time.ParseDuration(s)
	if v == 0 && err == nil && strings.ContainsAny(s, "123456789") {
		return fmt.Errorf("%q would be 0: the shortest time is 1ns", s)
	}
	*d = Duration(v)
	return err
}

// Words of the settings.
const (
	on        = "on"
	off       = "off"
	leave     = "leave"
	high      = "high"
	low       = "low"
	parityOff = "none"
)

// Defaults are the settings of a link that says nothing. parity is that of a serial line: none
// or even, as the protocol has it.
func Defaults(parity string) Settings {
	return Settings{Baud: 9600, DataBits: 8, Parity: parity, StopBits: 1, DTR: leave, RTS: leave}
}

const (
	minBaud  = 50
	maxBaud  = 4_000_000
	maxPause = time.Minute
	maxIdle  = 24 * time.Hour
	// maxDelay bounds the delays around a transmission: a UART's driver counts them in
	// milliseconds of one byte or two, and holds the line for so long.
	maxDelay = time.Second
)

// check finds everything that is wrong in settings for a carrier of this scheme.
func (s *Settings) check(scheme string) error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	s.checkLine(wrong)
	s.checkNet(scheme, wrong)
	for key, d := range map[string]Duration{"pause_after_connect": s.PauseAfterConnect, "idle_close": s.IdleClose} {
		most := maxPause
		if key == "idle_close" {
			most = maxIdle
		}
		if d < 0 || time.Duration(d) > most {
			wrong(key, "%v is not within 0s and %v", time.Duration(d), most)
		}
	}
	return errors.Join(errs...)
}

// checkLine looks at what a serial line has.
func (s *Settings) checkLine(wrong func(key, format string, args ...any)) {
	if s.Baud < minBaud || s.Baud > maxBaud {
		wrong("baud", "%d is not within %d and %d", s.Baud, minBaud, maxBaud)
	}
	if s.DataBits < 5 || s.DataBits > 8 {
		wrong("data_bits", "%d is not 5, 6, 7 or 8", s.DataBits)
	}
	if _, ok := parities[s.Parity]; !ok {
		wrong("parity", "%q is not none, odd, even, mark or space", s.Parity)
	}
	if s.StopBits != 1 && s.StopBits != 2 {
		wrong("stop_bits", "%d is not 1 or 2", s.StopBits)
	}
	for key, word := range map[string]string{"dtr": s.DTR, "rts": s.RTS} {
		if word != on && word != off && word != leave {
			wrong(key, "%q is not on, off or leave", word)
		}
	}
	r := s.RS485
	if r == nil {
		return
	}
	if r.RTSOnSend == "" {
		r.RTSOnSend = high
	}
	if r.RTSOnSend != high && r.RTSOnSend != low {
		wrong("rs485", "rts_on_send: %q is not high or low", r.RTSOnSend)
	}
	for key, d := range map[string]Duration{"delay_before": r.DelayBefore, "delay_after": r.DelayAfter} {
		if d < 0 || time.Duration(d) > maxDelay || time.Duration(d)%time.Millisecond != 0 {
			wrong("rs485", "%s: %v is not a number of whole milliseconds up to %v", key, time.Duration(d), maxDelay)
		}
	}
}

// checkNet looks at what a connection has, and at what this carrier has not.
func (s *Settings) checkNet(scheme string, wrong func(key, format string, args ...any)) {
	if t := s.TLS; t != nil {
		switch {
		case scheme != schemeTLS:
			wrong("tls", "only tls:// has certificates")
		case (t.Cert == "") != (t.Key == ""):
			wrong("tls", "cert and key belong together: one of them is missing")
		}
		for key, path := range map[string]string{"ca": t.CA, "cert": t.Cert, "key": t.Key} {
			if path != "" && !filepath.IsAbs(path) && !strings.HasPrefix(path, driver.SecretPrefix) {
				wrong("tls", "%s: %q is no absolute path", key, path)
			}
		}
	}
	if s.Source != "" {
		if _, err := netip.ParseAddr(s.Source); err != nil {
			wrong("source", "%q is no IP address of this machine", s.Source)
		} else if scheme == schemeSerial {
			wrong("source", "a serial port has no address to connect from")
		}
	}
	if s.KeepAlive != nil && (*s.KeepAlive < 0 || scheme == schemeSerial || scheme == schemeUDP) {
		wrong("keep_alive", "it takes a time of 0s or more, on a TCP connection")
	}
	switch {
	case s.RS485 == nil:
	case scheme != schemeSerial:
		wrong("rs485", "only a serial port of this machine has it")
	case s.RTS != leave:
		wrong("rts", "it switches the line under rs485: leave it out")
	}
}
