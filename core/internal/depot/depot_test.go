package depot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits; it finds a hang, not slowness.
const patience = 30 * time.Second

// A yard is a drivers directory with its trust file, and keys to sign with.
type yard struct {
	t       testing.TB
	dir     string // of packages
	trust   string
	db      *bbolt.DB
	policy  depot.Policy
	keys    map[string]key
	sources string
	depot   *depot.Depot
	log     bytes.Buffer // of the depot opened last
}

type key struct {
	public  string
	private []byte
}

// newYard has the keys "ours", which is trusted for all drivers, "acme", which is for
// acme-*, and "foreign", which is not trusted.
func newYard(t testing.TB) *yard {
	t.Helper()
	y := &yard{t: t, dir: filepath.Join(t.TempDir(), "drivers"), keys: map[string]key{}, sources: t.TempDir()}
	if err := os.Mkdir(y.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	y.trust = filepath.Join(t.TempDir(), "trust.yaml")
	for _, name := range []string{"ours", "acme", "foreign"} {
		public, private, err := pack.Keygen(nil)
		if err != nil {
			t.Fatal(err)
		}
		y.keys[name] = key{public, private}
	}
	y.trustKeys("ours", "acme")
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	y.db = db
	return y
}

// trustKeys writes the trust file.
func (y *yard) trustKeys(names ...string) {
	y.t.Helper()
	text := "keys:\n"
	for _, n := range names {
		pattern := "*"
		if n == "acme" {
			pattern = "acme-*"
		}
		text += "  - {key: " + y.keys[n].public + ", drivers: [\"" + pattern + "\"], comment: " + n + "}\n"
	}
	y.write(y.trust, text, 0o644)
}

func (y *yard) write(path, text string, mode os.FileMode) {
	y.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		y.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		y.t.Fatal(err)
	}
}

// make signs a package of a driver that prints text, below dir.
func (y *yard) make(dir, driver, version, text, by string, serial uint64) string {
	y.t.Helper()
	at := filepath.Join(dir, driver+"-"+version)
	y.assemble(at, driver, version, text)
	signer := by
	if by == "" {
		signer = "ours"
	}
	if err := pack.SignAs(at, y.keys[signer].private, nil, serial); err != nil {
		y.t.Fatal(err)
	}
	if by == "" {
		if err := os.Remove(filepath.Join(at, pack.SignatureName)); err != nil {
			y.t.Fatal(err)
		}
	}
	return at
}

func (y *yard) assemble(at, driver, version, text string) {
	y.t.Helper()
	y.write(y.sources+"/driver.json", `{"name": "`+driver+`", "version": "`+version+`", "api": {"min": 1, "max": 1}}`, 0o644)
	y.write(y.sources+"/program", "#!/bin/sh\necho "+text+"\n", 0o755)
	if _, err := pack.Assemble(at, pack.Assembly{
		Draft: y.sources + "/driver.json", Executables: map[string]string{pack.Platform(): y.sources + "/program"},
	}); err != nil {
		y.t.Fatal(err)
	}
}

// put makes a package and commits it into the drivers directory.
func (y *yard) put(driver, version, text, by string, serial uint64) {
	y.t.Helper()
	at := y.make(y.t.TempDir(), driver, version, text, by, serial)
	stage := filepath.Join(y.dir, ".stage")
	if err := os.CopyFS(stage, os.DirFS(at)); err != nil {
		y.t.Fatal(err)
	}
	y.modes(at, stage)
	to := filepath.Join(y.dir, filepath.Base(at))
	if err := os.RemoveAll(to); err != nil {
		y.t.Fatal(err)
	}
	if err := os.Rename(stage, to); err != nil {
		y.t.Fatal(err)
	}
}

// modes gives the copy the modes of the original.
func (y *yard) modes(from, to string) {
	y.t.Helper()
	err := filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, rel), info.Mode())
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

// open opens the depot; a second call is a restart of the gateway.
func (y *yard) open() *depot.Depot {
	y.t.Helper()
	y.log.Reset()
	d, err := depot.Open(depot.Options{
		Log: slog.New(slog.NewTextHandler(&y.log, nil)),
		Dir: depot.Fixed(y.dir), Trust: depot.Fixed(y.trust), Policy: func() depot.Policy { return y.policy }, DB: y.db,
	})
	if err != nil {
		y.t.Fatal(err)
	}
	y.depot = d
	return d
}

// start executes an image by its descriptor, as the gateway does.
func start(i *depot.Image) (string, error) { return startFile(i.File()) }

func startFile(f *os.File) (string, error) {
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// runs demands that the driver's image prints text.
func (y *yard) runs(driver, text string) {
	y.t.Helper()
	i, err := y.depot.Image(driver)
	if err != nil {
		y.t.Errorf("image: %v", err)
		return
	}
	if have, err := start(i); err != nil || have != text {
		y.t.Errorf("driver %s printed %q, %v; want %q", driver, have, err, text)
	}
}

// refuses demands that the driver has no image, with an error that has text.
func (y *yard) refuses(driver, text string) {
	y.t.Helper()
	i, err := y.depot.Image(driver)
	switch {
	case err == nil:
		y.t.Errorf("driver %s has an image, version %s", driver, i.Version)
	case !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n"):
		y.t.Errorf("driver %s: %q, want one line with %q", driver, err, text)
	}
}

func TestImageOfSignedPackage(t *testing.T) {
	y := newYard(t)
	y.put("acme-x", "1.0", "one", "acme", 7)
	d := y.open()
	y.runs("acme-x", "one")
	first, _ := d.Image("acme-x")
	d.Scan()
	if again, _ := d.Image("acme-x"); again != first {
		t.Error("a scan made another image of the same package")
	}
	if first.Serial != 7 || first.Unsigned || first.KeyID == "" || first.Hash == [32]byte{} {
		t.Errorf("image %+v", first)
	}
	list := d.List()
	if len(list) != 1 || !list[0].Active || list[0].Chosen || list[0].Signer != "acme" || list[0].State != depot.Accepted || list[0].Accepted.IsZero() {
		t.Errorf("list %+v", list)
	}
	y.refuses("modbus", "there is no package of it in "+y.dir+": install one")
}

// The highest serial decides, also over a restart; only the operator goes back.
func TestSerials(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "one", "ours", 10)
	y.open()
	y.put("d", "2", "two", "ours", 20)
	y.depot.Scan()
	y.runs("d", "two")
	y.put("d", "0", "zero", "ours", 5) // older than what was accepted, and never seen
	y.depot.Scan()
	y.runs("d", "two")
	if _, err := y.depot.ImageOf("d", "0"); err == nil || !strings.Contains(err.Error(), "serial 5 is older than 20") {
		t.Errorf("old package: %v", err)
	}
	if err := y.depot.SetActive("d", "0"); err == nil {
		t.Error("went back to what was never accepted")
	}
	if err := os.RemoveAll(filepath.Join(y.dir, "d-2")); err != nil { // an attacker removes the new one
		t.Fatal(err)
	}
	y.open()
	y.refuses("d", "version 2 is not in the drivers directory "+y.dir+"; it was accepted last, and `fieldloom driver rollback d` goes back to 1")
	if err := y.depot.SetActive("d", "1"); err != nil {
		t.Fatal(err)
	}
	y.runs("d", "one")
	y.open()
	y.runs("d", "one")
	if err := y.depot.SetActive("d", ""); err != nil {
		t.Fatal(err)
	}
	y.refuses("d", "accepted last")
}

// A version that was built again replaces the one before, and that never comes back.
func TestSameVersionAgain(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "first", "ours", 10)
	y.open()
	if err := os.Rename(filepath.Join(y.dir, "d-1"), filepath.Join(y.sources, "d-1")); err != nil {
		t.Fatal(err)
	}
	y.put("d", "1", "second", "ours", 11)
	y.depot.Scan()
	y.runs("d", "second")
	if err := y.depot.SetActive("d", "1"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(y.dir, "d-1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(y.sources, "d-1"), filepath.Join(y.dir, "d-1")); err != nil {
		t.Fatal(err)
	}
	y.open()
	y.refuses("d", "serial 10 is older than 11")
}

// Damage on the disk does not stop what was verified; taking a key back does.
func TestDamageAndRevocation(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "good", "ours", 1)
	y.open()
	y.write(filepath.Join(y.dir, "d-1", strings.ReplaceAll(pack.Platform(), "/", "-"), "driver-d"), "#!/bin/sh\necho evil\n", 0o755)
	y.depot.Scan()
	y.runs("d", "good")
	if e := y.depot.List()[0]; e.State != depot.Damaged || !strings.Contains(e.Refusal, "its SHA-256 is not the manifest's") {
		t.Errorf("entry %+v", e)
	}
	y.trustKeys("acme")
	y.depot.Scan()
	y.refuses("d", "is not in the trust file")
	y.trustKeys("ours")
	y.open()
	y.refuses("d", "its SHA-256 is not the manifest's")
}

// A trust file that is broken by an edit leaves the keys of before in force.
func TestBrokenTrustFile(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "good", "ours", 1)
	y.open()
	if list := y.depot.Faults(); list != nil {
		t.Errorf("before: %q", list)
	}
	y.write(y.trust, "keys: [", 0o644)
	y.depot.Scan()
	y.runs("d", "good")
	y.faults("trust file "+y.trust, "the keys from before are in force until the gateway is restarted")
	y.open()
	y.refuses("d", "no key is trusted")
	y.refuses("d", "trust file "+y.trust)
	y.faults("trust file "+y.trust, "no key is trusted")
	if err := os.Chmod(y.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	y.depot.Scan()
	y.faults("drivers directory "+y.dir, "chmod go-w")
	if fault := y.depot.Fault(); !strings.Contains(fault, y.dir) {
		t.Errorf("the directory's fault: %q", fault)
	}
	y.dir += "-elsewhere"
	d, err := depot.Open(depot.Options{Dir: depot.Fixed(y.dir)})
	if err != nil || !strings.Contains(d.Fault(), "is not there: make it, or set `drivers`") {
		t.Errorf("without the directory: %v, %v", d, err)
	}
}

// faults demands that the first of the depot's faults has these texts.
func (y *yard) faults(texts ...string) {
	y.t.Helper()
	list := y.depot.Faults()
	for _, text := range texts {
		if len(list) == 0 || !strings.Contains(list[0], text) {
			y.t.Errorf("faults %q, want %q", list, text)
		}
	}
}

// A depot without a ledger of its own takes what another one chose, also where it is gone.
func TestChosenElsewhere(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "one", "ours", 1)
	y.put("d", "2", "two", "ours", 2)
	y.open()
	if err := y.depot.SetActive("d", "1"); err != nil {
		t.Fatal(err)
	}
	chosen, err := depot.Chosen(y.db)
	if err != nil || len(chosen) != 1 || chosen["d"] != "1" {
		t.Fatalf("chosen %v, %v", chosen, err)
	}
	look := func() (*depot.Image, error) {
		d, err := depot.Open(depot.Options{Dir: depot.Fixed(y.dir), Trust: depot.Fixed(y.trust), Chosen: chosen})
		if err != nil {
			t.Fatal(err)
		}
		return d.Image("d")
	}
	if i, err := look(); err != nil || i.Version != "1" {
		t.Errorf("image %+v, %v", i, err)
	}
	if err := os.RemoveAll(filepath.Join(y.dir, "d-1")); err != nil {
		t.Fatal(err)
	}
	if i, err := look(); err == nil || !strings.Contains(err.Error(), "version 1 is not in the drivers directory") {
		t.Errorf("without it: image %+v, %v", i, err)
	}
}

// A package that is read again and found the same leaves nothing in memory.
func TestReadAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what is left open, one day
	y := newYard(t)
	y.put("modbus", "1.0.0", "one", "ours", 1)
	d := y.open()
	y.runs("modbus", "one")
	second := y.make(t.TempDir(), "modbus", "2.0.0", "two", "ours", 2)
	before := descriptors(t)
	for range 20 {
		y.trustKeys("ours")
		d.Scan()
		y.trustKeys("ours", "acme")
		d.Scan()
		if _, err := d.Install(second); err != nil {
			t.Fatal(err)
		}
	}
	if now := descriptors(t); now > before+1 { // the second version's
		t.Errorf("%d descriptors, and %d after reading again", before, now)
	}
	y.runs("modbus", "two")
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestUnsigned(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "unsigned", "", 0)
	y.write(filepath.Join(y.dir, "driver-e"), "#!/bin/sh\necho bare\n", 0o755)
	y.open()
	y.refuses("d", "manifest.json.minisig: is not there, and only signed packages are taken")
	y.refuses("e", "driver-e: is no signed package")
	y.policy = depot.AllowDev
	y.depot.Scan()
	y.runs("d", "unsigned")
	y.runs("e", "bare")
	if i, err := y.depot.ImageOf("e", depot.DevVersion); err != nil || !i.Unsigned || !i.Manifest.Wants.Serial {
		t.Errorf("image %+v, %v", i, err)
	}
	y.put("e", "1", "signed", "ours", 1)
	y.depot.Scan()
	y.runs("e", "signed") // a signature goes before
	y.policy = depot.Deny
	y.depot.Scan()
	y.refuses("d", "only signed packages are taken")
}

func TestInstallAndRemove(t *testing.T) {
	y := newYard(t)
	d := y.open()
	elsewhere := t.TempDir()
	e, err := d.Install(y.make(elsewhere, "d", "1", "one", "ours", 1))
	if err != nil || e.Name != "d-1" || !e.Active {
		t.Fatalf("install: %+v, %v", e, err)
	}
	y.runs("d", "one")
	var archive bytes.Buffer
	if err := pack.Archive(y.make(elsewhere, "d", "2", "two", "ours", 2), &archive); err != nil {
		t.Fatal(err)
	}
	if e, err := d.InstallArchive(bytes.NewReader(archive.Bytes())); err != nil || e.Version != "2" {
		t.Fatalf("install an archive: %+v, %v", e, err)
	}
	y.runs("d", "two")
	if _, err := d.InstallArchive(io.LimitReader(&archive, 200)); err == nil || !strings.Contains(err.Error(), "cut off or damaged") {
		t.Errorf("install half an archive: %v", err)
	}
	if _, err := d.Install(y.make(t.TempDir(), "d", "2", "old", "ours", 1)); err == nil || !strings.Contains(err.Error(), "serial 1 is older than 2") {
		t.Errorf("install an old package: %v", err)
	}
	if _, err := d.Install(y.make(t.TempDir(), "d", "3", "foreign", "foreign", 9)); err == nil || !strings.Contains(err.Error(), "not in the trust file") {
		t.Errorf("install a foreign package: %v", err)
	}
	y.runs("d", "two")
	if err := d.Remove("d", "2"); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("d", "2"); err == nil || !strings.Contains(err.Error(), "is not in the drivers directory") {
		t.Errorf("removed again: %v", err)
	}
	if err := d.Remove("../d", "1"); err == nil {
		t.Error("removed outside")
	}
	left, err := os.ReadDir(y.dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	y.refuses("d", "goes back to 1")
}

// That a package is accepted is told once, and not with every start.
func TestAcceptanceIsToldOnce(t *testing.T) {
	y := newYard(t)
	y.make(y.dir, "d", "1", "one", "ours", 1)
	y.open()
	if !strings.Contains(y.log.String(), "package is accepted") {
		t.Errorf("the first start logs:\n%s", y.log.String())
	}
	y.open()
	if strings.Contains(y.log.String(), "package is accepted") {
		t.Errorf("the second start logs:\n%s", y.log.String())
	}
	y.make(y.dir, "d", "2", "two", "ours", 2)
	y.depot.Scan()
	if strings.Count(y.log.String(), "package is accepted") != 1 {
		t.Errorf("after a new package:\n%s", y.log.String())
	}
}

// An archive lies in the directory as a directory does.
func TestArchiveInDirectory(t *testing.T) {
	y := newYard(t)
	var archive bytes.Buffer
	if err := pack.Archive(y.make(t.TempDir(), "d", "1", "zipped", "ours", 1), &archive); err != nil {
		t.Fatal(err)
	}
	y.write(filepath.Join(y.dir, "d-1.tar.gz"), archive.String(), 0o644)
	y.open()
	y.runs("d", "zipped")
}

// One version is one package: of two that lie there, the newer.
func TestTwoOfOneVersion(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "old", "ours", 1)
	var archive bytes.Buffer
	if err := pack.Archive(y.make(t.TempDir(), "d", "1", "new", "ours", 2), &archive); err != nil {
		t.Fatal(err)
	}
	y.write(filepath.Join(y.dir, "d-1.tar.gz"), archive.String(), 0o644)
	for range 2 { // the second is a restart
		y.open()
		y.runs("d", "new")
		if e := y.depot.List()[0]; e.Name != "d-1" || e.State != depot.Refused {
			t.Errorf("entry %+v", e)
		}
	}
}

// The directory is watched; what is not committed is not looked at.
func TestWatch(t *testing.T) {
	y := newYard(t)
	d := y.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	y.put("d", "1", "one", "ours", 1)
	y.await(func() bool { _, err := d.Image("d"); return err == nil })
	if err := os.RemoveAll(filepath.Join(y.dir, "d-1")); err != nil {
		t.Fatal(err)
	}
	y.await(func() bool { _, err := d.Image("d"); return err != nil })
	if err := os.Rename(y.make(t.TempDir(), "e", "1", "hidden", "ours", 2), filepath.Join(y.dir, ".e-1")); err != nil {
		t.Fatal(err)
	}
	d.Scan()
	if len(d.List()) != 0 {
		t.Errorf("list %+v", d.List())
	}
}

// await waits through changes of the depot until holds does.
func (y *yard) await(holds func() bool) {
	y.t.Helper()
	limit := time.After(patience)
	for !holds() {
		select {
		case <-y.depot.Changed():
		case <-limit:
			y.t.Fatal("the depot did not see the change")
		}
	}
}

// A directory that others may write is not used at all.
func TestDirectoryOfOthers(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "one", "ours", 1)
	if err := os.Chmod(y.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	d := y.open()
	y.refuses("d", "may be written by others than its owner: chmod go-w")
	if _, err := d.Install(y.make(t.TempDir(), "d", "2", "two", "ours", 2)); err == nil {
		t.Error("installed")
	}
	if err := os.Chmod(y.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.Scan()
	y.runs("d", "one")
}

// The ledger is not taken when it cannot be read.
func TestBrokenLedger(t *testing.T) {
	y := newYard(t)
	y.put("d", "1", "one", "ours", 1)
	y.open()
	if err := y.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("depot")).Put([]byte("d"), []byte("{"))
	}); err != nil {
		t.Fatal(err)
	}
	_, err := depot.Open(depot.Options{Dir: depot.Fixed(y.dir), DB: y.db})
	if err == nil || errors.Unwrap(err) == nil {
		t.Errorf("opened: %v", err)
	}
}

// A directory that cannot be used is no removal: what is known can be started again, nothing
// new is, and only what the operator takes back ends.
func TestAFaultRemovesNothing(t *testing.T) {
	for name, spoil := range map[string]func(y *yard){
		"everybody may write": func(y *yard) { y.must(os.Chmod(y.dir, 0o777)) },
		"it is away":          func(y *yard) { y.must(os.Rename(y.dir, y.dir+"-away")) },
		"it is a file":        func(y *yard) { y.must(os.Rename(y.dir, y.dir+"-away")); y.write(y.dir, "", 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			y.put("d", "1", "one", "ours", 1)
			d := y.open()
			y.put("d", "2", "two", "ours", 2) // not seen before the fault
			spoil(y)
			d.Scan()
			i, err := d.ImageOf("d", "1")
			if err != nil {
				t.Fatal(err)
			}
			if text, err := start(i); text != "one" || err != nil {
				t.Errorf("it printed %q, %v", text, err)
			}
			if _, err := d.Image("d"); !errors.Is(err, depot.ErrUnclear) {
				t.Errorf("something new may be started: %v", err)
			}
			if _, err := d.ImageOf("d", "2"); !errors.Is(err, depot.ErrUnclear) {
				t.Errorf("the new version: %v", err)
			}
			y.faults(y.dir, "what runs goes on, and nothing new is started")
			y.trustKeys("acme")
			d.Scan()
			if _, err := d.ImageOf("d", "1"); err == nil {
				t.Error("a key that was taken back is trusted")
			}
		})
	}
}

// After a restart, too, trouble is told from what the operator wants.
func TestUnclearAndDecided(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(y *yard)
		unclear bool
	}{
		{"the trust file is broken", func(y *yard) { y.write(y.trust, "keys: [", 0o644) }, true},
		{"the trust file is missing", func(y *yard) { y.must(os.Remove(y.trust)) }, true},
		{"the package cannot be read", func(y *yard) {
			y.must(os.Rename(filepath.Join(y.dir, "d-1", "manifest.json"), filepath.Join(y.dir, "d-1", "x")))
		}, true},
		{"the package is damaged", func(y *yard) { y.write(y.executable(), "#!/bin/sh\n", 0o755) }, true},
		{"everybody may write", func(y *yard) { y.must(os.Chmod(y.dir, 0o777)) }, true},
		{"its key was taken back", func(y *yard) { y.trustKeys("acme") }, false},
		{"it was removed", func(y *yard) { y.must(os.RemoveAll(filepath.Join(y.dir, "d-1"))) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			y := newYard(t)
			y.put("d", "1", "one", "ours", 1)
			y.open()
			tc.change(y)
			d := y.open()
			_, err := d.ImageOf("d", "1")
			if err == nil || errors.Is(err, depot.ErrUnclear) != tc.unclear {
				t.Errorf("%v, unclear %v", err, errors.Is(err, depot.ErrUnclear))
			}
			if tc.unclear && len(d.Faults()) == 0 && d.List()[0].Refusal == "" {
				t.Error("nothing tells of it")
			}
		})
	}
}
