package modbus_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// No request reads across a place, or has registers of a block and others.
func TestMarkedBlocks(t *testing.T) {
	for settings, want := range map[string][]string{
		``:                                 {"100+10"},
		`{"never_across":["holding:104"]}`: {"100+4", "104+6"},
		`{"never_across":["holding:104","holding:108"]}`:                               {"100+4", "104+4", "108+2"},
		`{"blocks":[{"at":"holding:102-105","max":2}]}`:                                {"100+2", "102+2", "104+2", "106+4"},
		`{"blocks":[{"at":"holding:102-105","max":1}],"never_across":["holding:104"]}`: {"100+2", "102+1", "103+1", "104+1", "105+1", "106+4"},
		`{"never_across":["input:104"]}`:                                               {"100+10"},
	} {
		s := newServer()
		var addresses []string
		for _, n := range []string{"100", "101", "102", "103", "104", "105", "106", "107", "108", "109"} {
			addresses = append(addresses, "holding:"+n)
		}
		newRig(t, s, "").mustUnit(settings, addresses...).mustPoll()
		var asked []string
		for _, pdu := range s.pdus {
			asked = append(asked, fmt.Sprintf("%d+%d", binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])))
		}
		slices.Sort(asked)
		if !slices.Equal(asked, want) {
			t.Errorf("%s: asked %v, want %v", settings, asked, want)
		}
	}
}

func TestBlocksThatCannotBe(t *testing.T) {
	for settings, want := range map[string]string{
		`{"never_across":["holding"]}`:                               "the number is missing",
		`{"blocks":[{"at":"holding:10-5"}]}`:                         "its end is before its begin",
		`{"blocks":[{"at":"holding:10-x"}]}`:                         "is not a number",
		`{"blocks":[{"at":"holding:10-20","max":126}]}`:              "max 126 is not within 0 and 125",
		`{"blocks":[{"at":"holding:10-20"},{"at":"holding:20-30"}]}`: "overlap",
		`{"blocks":[{"at":"holding:99-100"}]}`:                       "is partly in the block holding:99-100",
		`{"blocks":[{"at":"holding:90-110","max":1}]}`:               "more than the 1 of a request in its block",
		`{"never_across":["holding:101"]}`:                           "is partly in the block holding:101-65535",
	} {
		err := modbus.New().(driver.Checker).Check(driver.LinkConfig{Timeout: time.Second, Settings: json.RawMessage(`{"url":"tcp://plc"}`)},
			[]driver.DeviceConfig{{Name: "d", Settings: json.RawMessage(settings), Points: []driver.Point{{Name: "p", Address: "holding:100:uint32"}}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}
