cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
