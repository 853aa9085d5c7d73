package modbus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/drivers/modbus"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in, canonical string
		want          modbus.Address
		items         int
	}{
		{"holding:100", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:0x64", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:100:uint16", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:100:float32", "holding:100:float32", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32}, 2},
		{"holding:100:float32:cdab", "holding:100:float32:cdab", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32, Order: modbus.CDAB}, 2},
		{"holding:100:badc", "holding:100:badc", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16, Order: modbus.BADC}, 1},
		{"holding:100.3", "holding:100.3", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 3}, 1},
		{"holding:100.15:bool:dcba", "holding:100.15:dcba", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 15, Order: modbus.DCBA}, 1},
		{"holding:100:bool", "holding:100:bool", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bool}, 1},
		{"holding:100:string:20", "holding:100:string:20", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.String, Size: 20}, 10},
		{"input:0:bytes:7:badc", "input:0:bytes:7:badc", modbus.Address{Table: modbus.Input, Type: modbus.Bytes, Size: 7, Order: modbus.BADC}, 4},
		{"input:65532:float64", "input:65532:float64", modbus.Address{Table: modbus.Input, Start: 65532, Type: modbus.Float64}, 4},
		{"coil:5", "coil:5", modbus.Address{Table: modbus.Coil, Start: 5, Type: modbus.Bool}, 1},
		{"discrete:7:bool", "discrete:7", modbus.Address{Table: modbus.Discrete, Start: 7, Type: modbus.Bool}, 1},
		{"40101", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"400101", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"465536", "holding:65535", modbus.Address{Table: modbus.Holding, Start: 65535, Type: modbus.Uint16}, 1},
		{"40101:float32:cdab", "holding:100:float32:cdab", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32, Order: modbus.CDAB}, 2},
		{"40101.3", "holding:100.3", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 3}, 1},
		{"30001:int16", "input:0:int16", modbus.Address{Table: modbus.Input, Type: modbus.Int16}, 1},
		{"00001", "coil:0", modbus.Address{Table: modbus.Coil, Type: modbus.Bool}, 1},
		{"10001", "discrete:0", modbus.Address{Table: modbus.Discrete, Type: modbus.Bool}, 1},
	}
	for _, test := range tests {
		got, err := modbus.ParseAddress(test.in)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.in, diff)
		}
		if got.String() != test.canonical {
			t.Errorf("%s prints as %s, want %s", test.in, got, test.canonical)
		}
		if n := modbus.Items(got); n != test.items {
			t.Errorf("%s takes %d items, want %d", test.in, n, test.items)
		}
	}
}

func TestParseAddressRejects(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "has 0 digits",
		"holding":                   "the number is missing: write it as holding:100",
		"holding:":                  "is not a number from 0 to 65535",
		"holding:-1":                "is not a number from 0 to 65535",
		"holding:65536":             "is not a number from 0 to 65535",
		"holding:0x":                "is not a number from 0 to 65535",
		"register:1":                "is no table",
		"Holding:1":                 "is no table",
		"100":                       "has 3 digits",
		"4010100":                   "has 7 digits",
		"20001":                     "starts with 0 (coil)",
		"40000":                     "counts from 1",
		"465537":                    "counts from 1",
		"holding:100.16":            "not a number from 0 to 15",
		"holding:100.":              "not a number from 0 to 15",
		"coil:5.1":                  "has no bit",
		"coil:5:uint16":             "one bit is a bool",
		"coil:5:abcd":               "has no order",
		"holding:100.3:uint16":      "one bit is a bool",
		"holding:1:int8":            `"int8" is neither a type`,
		"holding:1:float32:abdc":    "is no order",
		"holding:1:float32:abcd:x":  "nothing follows the order",
		"holding:1:string":          "the size is missing",
		"holding:1:string:0":        "bytes from 1 to 250",
		"holding:1:bytes:251":       "bytes from 1 to 250",
		"holding:65535:float32":     "it ends at 65536",
		"holding:65530:string:13":   "it ends at 65536",
		"465536:uint32":             "it ends at 65536",
		"holding:1:uint16:abcd:":    "nothing follows",
		"holding:1:string:20:word":  "is no order",
		"holding:1 ":                "is not a number",
		"40101,3":                   "is no table",
		"holding:18446744073709551": "is not a number",
	} {
		_, err := modbus.ParseAddress(in)
		if err == nil {
			t.Errorf("%q was taken", in)
			continue
		}
		if !contains(err.Error(), want) || !contains(err.Error(), fmt.Sprintf("address %q", in)) {
			t.Errorf("%q: error %q does not say %q", in, err, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"holding:100", "40101.3", "coil:0", "input:0x10:string:20:badc", "465536:float64"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := modbus.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := modbus.ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %+v, prints as %s, which is %+v (%v)", s, a, a, again, err)
		}
		if last := int(a.Start) + modbus.Items(a) - 1; last > 65535 {
			t.Fatalf("%q ends at %d", s, last)
		}
	})
}

func ExampleParseAddress() {
	for _, s := range []string{"40101", "holding:100.3", "40101:float32:cdab", "coil:70000"} {
		a, err := modbus.ParseAddress(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(a)
	}
	// Output:
	// holding:100
	// holding:100.3
	// holding:100:float32:cdab
	// address "coil:70000": "70000" is not a number from 0 to 65535
}
