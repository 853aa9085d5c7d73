package serial_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// held makes this test binary a process that has a port open until it is killed.
func held(port string) {
	text := json.RawMessage(`{"port": ` + strconv.Quote(port) + `, "terminator": "\n"}`)
	_, err := serial.New().Open(context.Background(), driver.LinkConfig{Name: "l", Timeout: time.Second, Settings: text}, driver.Env{})
	fmt.Println("open:", err)
	select {}
}

// The port of a driver that was killed is free at once, also where the terminal lives on:
// nothing of exclusive use is left on it.
func TestPortOfAKilledDriverIsFree(t *testing.T) {
	i := newInstrument(t, func(string) string { return "1\r\n" })
	for range 3 {
		holder := exec.Command(os.Args[0])
		holder.Env = []string{envPort + "=" + i.path}
		out, err := holder.StdoutPipe()
		check(t, err)
		check(t, holder.Start())
		said, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || said != "open: <nil>\n" {
			t.Errorf("%q, %v", said, err)
		}
		check(t, holder.Process.Kill())
		_ = holder.Wait()
		tty, err := os.OpenFile(i.path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatalf("after the kill: %v", err)
		}
		if flag, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGEXCL); err != nil || flag != 0 {
			t.Fatalf("exclusive use is %d, %v: who is not root cannot open the port any more", flag, err)
		}
		check(t, tty.Close())
	}
	again := openLink(t, i, patience, "")
	_, err := reader(t, again, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))()
	check(t, err)
}

// A port has the mode that its link says, at any rate.
func TestMode(t *testing.T) {
	const framing = unix.CSIZE | unix.CSTOPB | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CRTSCTS
	for _, tc := range []struct {
		keys string
		rate uint32
		want uint32
	}{
		{``, 9600, unix.CS8},
		{`, "baud": 115200, "data_bits": 7, "parity": "even", "stop_bits": 2`, 115200, unix.CS7 | unix.PARENB | unix.CSTOPB},
		{`, "baud": 31250, "parity": "odd"`, 31250, unix.CS8 | unix.PARENB | unix.PARODD},
		{`, "parity": "mark"`, 9600, unix.CS8 | unix.PARENB | unix.PARODD | unix.CMSPAR},
		{`, "data_bits": 5, "parity": "space"`, 9600, unix.CS5 | unix.PARENB | unix.CMSPAR},
	} {
		i := newInstrument(t, nil)
		l := openLink(t, i, patience, tc.keys)
		tty, err := os.OpenFile(i.path, os.O_RDWR|unix.O_NOCTTY, 0)
		check(t, err)
		mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS2)
		check(t, err)
		// A pseudo terminal keeps 8 bits without parity, whatever it was told.
		if mode.Ospeed != tc.rate || mode.Ispeed != tc.rate || mode.Cflag&(framing&^(unix.CSIZE|unix.PARENB)) != tc.want&^(unix.CSIZE|unix.PARENB) {
			t.Errorf("%s: rate %d and %d, flags %#o, want %#o", tc.keys, mode.Ispeed, mode.Ospeed, mode.Cflag&framing, tc.want)
		}
		if mode.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 || mode.Oflag&unix.OPOST != 0 || mode.Iflag&(unix.ICRNL|unix.IXON) != 0 {
			t.Errorf("%s: bytes are not passed on as they are: %+v", tc.keys, mode)
		}
		check(t, tty.Close())
		check(t, l.Close(t.Context()))
	}
}
