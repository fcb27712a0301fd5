from arks.contracts.names import application_of_service, service_name


def test_a_service_names_its_application() -> None:
    assert "arks-application-qwen" == service_name("qwen")
    assert "qwen" == application_of_service(service_name("qwen"))
    assert application_of_service("qwen") is None
