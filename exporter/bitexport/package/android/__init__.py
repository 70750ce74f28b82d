"""An AAR: the runtime for every ABI of Android, a Java API, headers, rules, licences."""
