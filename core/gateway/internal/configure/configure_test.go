package configure

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// What a restart is needed for is refused, and all of it is told.
func TestFixedKeys(t *testing.T) {
	old := &config.Config{DataDir: "a", DriversDir: "a", Socket: "a/s"}
	for _, c := range []struct {
		next     config.Config
		stranded string
		want     []string
	}{
		{next: *old},
		{next: config.Config{DataDir: "b", DriversDir: "b", Socket: "b/s"}, want: []string{"data", "drivers"}}, // the socket went with the data
		{next: config.Config{DataDir: "a", DriversDir: "a", Socket: "b/s"}, want: []string{"socket"}},
		{next: *old, stranded: "acme", want: []string{"processes.acme.user"}},
	} {
		var keys []string
		if err := fixed(old, &c.next, c.stranded); err != nil {
			for _, line := range RefusedBy(err).Lines() {
				key, _, _ := strings.Cut(strings.TrimPrefix(line, "fieldloom.yaml: "), ":")
				keys = append(keys, key)
			}
		}
		if !slices.Equal(keys, c.want) {
			t.Errorf("%+v, %s: %v, want %v", c.next, c.stranded, keys, c.want)
		}
	}
}

// A configuration of which a file is set aside says so from the moment on in which it is in
// force: whoever sees it sees what it lacks.
func TestWhatIsSetAsideIsToldAtOnce(t *testing.T) {
	data, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	points, err := catalog.Open(data.DB)
	if err != nil {
		t.Fatal(err)
	}
	book, err := choices.Open(data.DB)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in := func(name string) func() string { return func() string { return filepath.Join(dir, name) } }
	packages, err := depot.Open(depot.Options{Dir: in("drivers"), Trust: in("trust.yaml"), Policy: depot.Fixed(depot.Deny)})
	if err != nil {
		t.Fatal(err)
	}
	drivers := supervise.New(supervise.Options{})
	defer drivers.Close(false)
	if err := os.WriteFile(filepath.Join(dir, "fieldloom.yaml"), []byte("gateway: g\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "links"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "links", "b.yaml"), []byte("links: {b: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var seen []*inforce.Config
	s := &Service{
		InForce: inforce.NewCurrent(c, time.Now()), Choices: book, Catalog: points, Data: data, Drivers: drivers, Depot: packages,
		Stranded: func(*config.Config) string { return "" }, Log: slog.New(slog.DiscardHandler),
		Changed: func(_, now *inforce.Config, _ bool) { seen = append(seen, now) },
	}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || len(seen[0].Aside) != 1 || len(seen[0].Wrong) != 1 || s.InForce.Get() != seen[0] {
		t.Errorf("put in force: %+v, then %+v", seen, s.InForce.Get())
	}
}
