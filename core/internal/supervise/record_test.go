package supervise_test

import (
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"kind":"modbus","member":0,"version":"1.0","hash":"00","process":{"pid":7}}`, `{"kind":"../x","process":{}}`,
		`{"kind":"modbus","member":99,"process":{}}`, `{"kind":"modbus","member":-1,"process":null}`, `{"kind":"modbus","process":[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := supervise.ParseRecord(data)
		if err != nil {
			return
		}
		if r.Driver == "" || filepath.Base(r.Driver) != r.Driver || r.Member < -1 || r.Member > 15 || len(r.Process) == 0 {
			t.Errorf("taken: %+v", r)
		}
	})
}
