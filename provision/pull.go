package provision

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"nucspark.io/nucspark/provision/host"
)

// pullFailures are what ctr prints when it cannot pull an image, from what is
// surest to what is vaguest.
var pullFailures = []struct {
	says      *regexp.Regexp
	means     string
	hint      string
	transient bool
}{
	{regexp.MustCompile(`no space left on device`), "the disk is full",
		"make room for container images (df -h /var/lib/containerd shows it) and run again", false},
	{regexp.MustCompile(`pull access denied|authorization failed|401 Unauthorized|403 Forbidden|authentication required`), "the registry refuses it",
		"see that the images block names it as the registry does; where it wants a password, add a registry block", false},
	{regexp.MustCompile(`: not found|manifest unknown|name unknown|invalid reference format`), "the registry does not have it",
		"correct the name in the images block, or put the image into the mirror", false},
	{regexp.MustCompile(`no match for platform`), "it is not made for this kind of processor",
		"name another one in the images block", false},
	{regexp.MustCompile(`x509: `), "the registry's certificate is not trusted",
		"see that the clock of the node is right and that nobody is in between; a mirror without a certificate is named with http://", false},
}

// PullError says why images could not be pulled by ctr on a node.
func PullError(node, step, what string, err error) error {
	var cmd *host.CommandError
	if !errors.As(err, &cmd) || cmd.Err != nil {
		return err // the connection, or somebody stopped it
	}
	told := *cmd
	told.Tail = slices.DeleteFunc(slices.Clone(cmd.Tail), func(l string) bool { return strings.Contains(l, "level=warning") })
	out := strings.Join(told.Tail, "\n")
	e := &StepError{Node: node, Step: step, Transient: true, Hint: "look whether the node reaches the image registry, or the mirror of the inventory"}
	means := "the registry did not answer as it should"
	for _, f := range pullFailures {
		if f.says.MatchString(out) {
			means, e.Hint, e.Transient = f.means, f.hint, f.transient
			break
		}
	}
	text := what + ": " + means
	if m := ctrError.FindStringSubmatch(out); m != nil {
		text += ": " + m[1]
	}
	e.Err = &commandFailure{text, &told}
	return e
}

var ctrError = regexp.MustCompile(`(?m)^ctr: (.+)$`)
