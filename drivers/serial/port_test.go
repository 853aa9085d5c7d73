package serial_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

func TestUnplugged(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, patience, "")
	_, ended := listen(t, l, config(t, `{"lines": {"w": {}}}`, "w:0"))
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	go func() {
		<-i.heard
		i.unplug()
	}()
	if _, err := read(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Read: %v", err)
	}
	if err := next(t, ended); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Subscribe: %v", err)
	}
	if _, err := read(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Read again: %v", err)
	}
	check(t, l.Close(t.Context()))
	_, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second, Settings: settings(t, `{"port": "`+i.path+`"}`)}, driver.Env{})
	if driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Open without a port: %v", err)
	}
}

func TestCloseInFlight(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, patience, "")
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	go func() {
		<-i.heard
		check(t, l.Close(t.Context()))
	}()
	if _, err := read(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Read: %v", err)
	}
	check(t, l.Close(t.Context()))
	if _, err := read(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Read on a closed link: %v", err)
	}
}

func TestPortIsExclusive(t *testing.T) {
	i := newInstrument(t, func(string) string { return "1\r\n" })
	first := openLink(t, i, patience, "")
	_, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second, Settings: settings(t, `{"port": "`+i.path+`"}`)}, driver.Env{})
	if driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "another process") {
		t.Errorf("Open of a port in use: %v", err)
	}
	check(t, first.Close(t.Context()))
	again := openLink(t, i, patience, "")
	_, err = reader(t, again, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))()
	check(t, err)
}

func TestNoSerialPort(t *testing.T) {
	for port, want := range map[string]driver.Code{
		"/dev/null":           driver.InvalidConfig,
		"/dev/does-not-exist": driver.NotConnected,
	} {
		_, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second, Settings: settings(t, `{"port": "`+port+`"}`)}, driver.Env{})
		var fault *driver.Error
		if !errors.As(err, &fault) || fault.Code != want {
			t.Errorf("%s: %v", port, err)
		}
	}
}

// TestFlood checks that an instrument that never stops talking does not keep a
// request beyond its deadline, nor Close.
func TestFlood(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, 200*time.Millisecond, `, "max_line": 50`)
	read := reader(t, l, config(t, `{"requests": {"a": {"send": "A?", "expect": "^A (.)$"}}}`, "a:1"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				i.say(strings.Repeat("garbage \x00\xff\r\n", 50))
			}
		}
	}()
	for range 3 {
		if _, err := read(); driver.CodeOf(err) != driver.Protocol {
			t.Errorf("Read: %v", err)
		}
	}
	check(t, l.Close(t.Context()))
	close(stop)
	i.unplug() // the flood may wait for room on the line
	<-stopped
}

// TestAfterGarbage checks that garbage without an end does not grow, and costs at
// most the request whose answer follows it.
func TestAfterGarbage(t *testing.T) {
	i := newInstrument(t, func(string) string { return "\r\nA 1\r\n" })
	l := openLink(t, i, patience, `, "max_line": 50`)
	for range 50 {
		i.say(strings.Repeat("garbage \x00\xff", 50))
	}
	read := reader(t, l, config(t, `{"requests": {"a": {"send": "A?", "expect": "^A (.)$"}}}`, "a:1"))
	for range 2 {
		if out, err := read(); err == nil && out[0].Value.Float64() == 1 {
			return
		}
	}
	t.Error("no answer after garbage")
}
