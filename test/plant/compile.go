package plant

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Compile builds a main package of this repository, such as ./cmd/fieldloom, with flags
// for the linker, and returns the executable's path. It is removed with the test.
func Compile(t testing.TB, pkg, ldflags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags, "-o", path, pkg)
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
	return path
}

// Copy is another executable that does the same: its file has one byte more.
func Copy(t testing.TB, executable string) string {
	t.Helper()
	text, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(executable))
	if err := os.WriteFile(path, append(text, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// Rebuild builds fieldloom once more, to another executable that does the same. There
// are no drivers and no trust file beside it.
func Rebuild(t testing.TB) Binaries {
	t.Helper()
	return Binaries(filepath.Dir(Compile(t, "./cmd/fieldloom", "-buildid=other")))
}

// Twin is Rebuild in no time: a copy.
func Twin(t testing.TB) Binaries {
	t.Helper()
	return Binaries(filepath.Dir(Copy(t, filepath.Join(string(Build(t)), "fieldloom"))))
}
