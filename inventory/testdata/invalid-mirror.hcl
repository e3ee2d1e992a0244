cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
mirror {
  apt      = "ftp://192.168.1.5/"
  registry = "http://192.168.1.5:5000/v2/"
  keys     = ["no-such-file.asc", "/dev/null", "."]
}
registry "https://ghcr.io" {
  username = "me"
}
