package modbus_test

import (
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// A peer that never stops to send what nobody asked for is found out by the time-out, also
// where the driver looks for answers without sleeping.
func TestFlood(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var peers sync.WaitGroup
	peers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			peers.Go(func() {
				defer conn.Close()
				for stray := []byte{0xFF, 0xFF, 0, 0, 0, 3, 1, 0x83, 2}; err == nil; {
					_, err = conn.Write(stray)
				}
			})
		}
	})
	settings, err := json.Marshal(map[string]string{"url": "tcp://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: 50 * time.Millisecond, Settings: settings}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := link.Close(t.Context()); err != nil {
			t.Error(err)
		}
		l.Close()
		peers.Wait()
	}()
	points := []driver.Point{{Name: "a", Address: "holding:0"}}
	d, err := link.Device(t.Context(), driver.DeviceConfig{Name: "d", Points: points})
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.(driver.Preparer).Prepare(points)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := r.(driver.AheadReader).ReadAhead(t.Context(), points, make([]driver.Sample, 1), func() bool { return true })
		mustFail(t, err, driver.Timeout, "with a transaction id that was not asked were discarded")
	}
}
