import pytest

from bertsmith.errors import ConfigError
from bertsmith.training.settings import CardSettings


@pytest.mark.parametrize("code", ["en", "zh-Hans", "apache-2.0", "other"])
def test_codes_of_the_hub(code: str) -> None:
    assert CardSettings(language=code, license=code).license == code


@pytest.mark.parametrize("code", ["", "two words", "en\nlicense: mit", "- en", "中文"])
def test_what_is_no_code(code: str) -> None:
    with pytest.raises(ConfigError, match="the hub takes a code here, such as en"):
        CardSettings.from_values({"language": code}, "test")
