package inventory

import "fmt"

const sensitive = "(sensitive)"

// NewSecret wraps a value that must not be shown.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal gives the value. Its callers are the places to look at when asking
// where a password can end.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells that there is no value.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal compares the values.
func (s Secret) Equal(t Secret) bool { return s.Reveal() == t.Reveal() }

func (s Secret) String() string               { return sensitive }
func (s Secret) GoString() string             { return sensitive }
func (s Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, sensitive) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(sensitive), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + sensitive + `"`), nil }

// Secrets are all secret values of an inventory.
func (c *Cluster) Secrets() []Secret {
	all := []Secret{c.SSH.Password, c.SSH.SudoPassword}
	for _, r := range c.Registries {
		all = append(all, r.Password)
	}
	return all
}
